// spawn() for tests and stand-ins: the child ends with this process, however that ends. Otherwise what a killed test
// leaves behind holds the pipes of its caller open, which then waits for it.
import { spawn as start } from 'node:child_process';

export const spawn = (command, args, options) => start('setpriv', ['--pdeathsig', 'KILL', command, ...args], options);
