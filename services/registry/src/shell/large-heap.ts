import { setFlagsFromString } from 'node:v8';

// A snapshot is read in values that lie outside of the heap. Without this V8 collects all of the heap, which may be a
// gigabyte, after every 64 MB of them: that takes as long as the reading itself.
setFlagsFromString('--external-memory-accounted-in-global-limit');
