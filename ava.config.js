/**
 * How tests run. Seeds of the simulator take as much CPU as all other tests together and wait for nothing; so they come
 * first, give way (test/simulations/mesh.test.ts), and fill what those leave idle that wait for guests, links and timers.
 */
import { join } from 'node:path'

const FIRST = ['test/simulations/', 'test/e2e/', 'test/lab/']

const rank = (file) => {
  const found = FIRST.findIndex((folder) => file.replaceAll('\\', '/').includes(`/${folder}`))
  return found === -1 ? FIRST.length : found
}

export default {
  files: ['test/**/*.test.ts'],
  extensions: ['ts'],
  // Each file is a process, and most load the same few hundred modules: stripped and compiled once, as node/godwit.js does.
  environmentVariables: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules', '.cache', 'godwit') },
  // Two at a time beside the seeds, whatever the machine: more would disturb those that measure.
  concurrency: 3,
  sortTestFiles: (one, other) => rank(one) - rank(other) || (one < other ? -1 : 1),
  // Nothing is heard of any test for this long. Tests that take longer say so.
  timeout: '120s',
  // A process for each file: some hold sockets and signal handlers, and one end must not be another's.
  workerThreads: false,
  utilizeParallelBuilds: false,
}
