"""Runs a program on a pseudo-terminal: on_terminal.py COLUMNS ROWS KEYS SIGNAL COMMAND...; prints what it wrote, as JSON.

The keys are typed once it has written something and has read them before: after its first output.
"""
import fcntl, json, os, pty, select, signal, struct, sys, termios

columns, rows, keys, signal_name, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:]
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.close(master)
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.execv(command[0], command)
output, status, typed = b"", None, False
while status is None:
    if select.select([master], [], [], 0.05)[0]:
        output += os.read(master, 65536)
        if not typed and (keys or signal_name):
            typed = True
            os.write(master, keys.encode())
            if signal_name:
                os.kill(pid, getattr(signal, signal_name))
    done, code = os.waitpid(pid, os.WNOHANG)
    status = os.waitstatus_to_exitcode(code) if done else None
while select.select([master], [], [], 0)[0]:
    output += os.read(master, 65536)
print(json.dumps({"output": output.decode(), "status": status, "modes_kept": termios.tcgetattr(slave) == before}))
