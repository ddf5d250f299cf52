/**
 * Inside a namespace: connections to a Unix socket go on to a port of its loopback. Unix sockets know no namespaces, so
 * this is how a browser outside sees a page inside. `node forward.ts SOCKET PORT`, until it is killed.
 */
import { connect, createServer } from 'node:net'

const [, , socket = '', port = ''] = process.argv

createServer((near) => {
  const far = connect(Number(port), '127.0.0.1')
  near.pipe(far).pipe(near)
  for (const each of [near, far]) each.on('error', () => [near, far].forEach((end) => end.destroy()))
}).listen(socket)
