"""A person at a terminal: terminal.py STEPS COMMAND…; STEPS is JSON, [[text to wait for, keys to type], …]. Prints what was written, as JSON."""
import json, os, pty, sys, fcntl, signal, struct, termios

steps, command = json.loads(sys.argv[1]), sys.argv[2:]
pid, master = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
output, seen = b"", 0
signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGTERM))
signal.alarm(80)
while True:
    try:
        data = os.read(master, 65536)
    except OSError:  # the other side is closed
        break
    output += data
    while steps and steps[0][0].encode() in output[seen:]:
        seen = output.index(steps[0][0].encode(), seen) + len(steps[0][0])
        os.write(master, steps.pop(0)[1].encode())
print(json.dumps({"output": output.decode(), "status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "not_seen": steps}))
