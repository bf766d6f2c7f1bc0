import shared from '../../ava.config.js';

// The tests hand descriptors to sockets. A worker thread that ends closes the numbers again, which by then belong to
// other threads: so each file has a process.
export default { ...shared, workerThreads: false };
