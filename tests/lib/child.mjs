// spawn() for tests and stand-ins: the child ends with this process in any case. Otherwise the children of a killed
// test would keep its caller's pipes open, and the caller would wait for them.
import { spawn as start } from 'node:child_process';

export const spawn = (command, args, options) => start('setpriv', ['--pdeathsig', 'KILL', command, ...args], options);
