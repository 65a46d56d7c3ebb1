/* Makes test/vectors.json with the C packer: node test/make_vectors.mjs PATH-OF-PAYLOAD-TOOL */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { Random } from '../../lib/random.mjs';
import { samples } from './samples.mjs';

const all = samples(new Random(1), 12);
const { stdout } = spawnSync(process.argv[2], { input: all.map((sample) => `${JSON.stringify({ op: 'pack', ...sample })}\n`).join(''), encoding: 'utf8' });
const vectors = stdout.trim().split('\n').map((line, i) => ({ sample: all[i], packed: JSON.parse(line).packed })).filter(({ packed }) => packed);
fs.writeFileSync(new URL('vectors.json', import.meta.url), `${JSON.stringify(vectors, null, 1)}\n`);
