import { writeFileSync } from 'node:fs';
import { manualPages } from './manual.ts';

for (const [path, text] of manualPages()) writeFileSync(path, text);
