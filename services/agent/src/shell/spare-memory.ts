import { setFlagsFromString } from 'node:v8';

// An agent shares its machine with the tasks that pay for it. Without this a burst of thousands of tasks leaves a heap
// of 230 MB of which 30 MB are in use: V8 lets garbage grow where it believes to have the machine to itself.
setFlagsFromString('--optimize-for-size');
setFlagsFromString('--max-semi-space-size=4');
