/**
 * A network on which nobody is heard and nobody listens: the one of a peer whose data folder may not be acted on. Another
 * folder may be running as the same peer, so not even its presence is to be seen.
 */
import type { Broadcast } from '../../protocols/broadcast.ts'
import type { Clock } from '../../protocols/clock.ts'
import type { Directory } from '../../protocols/directory.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { failed, ok } from '../../protocols/outcome.ts'
import type { Transport } from '../../protocols/transport.ts'
import type { Door } from '../door.ts'

export type MutePorts = {
  readonly transport: Transport
  readonly broadcast: Broadcast
  readonly directory: Directory
  readonly door: Door
}

export function mutePorts(self: PeerId, clock: Pick<Clock, 'after'>): MutePorts {
  const later = (run: () => void): void => void clock.after(0, run)
  const nobody = (peer: PeerId) => failed({ code: 'PEER_UNREACHABLE', peer, afterMs: 0 })
  return {
    transport: {
      self,
      send: () => {},
      request: (to, _protocol, _frame, _timeoutMs, done) => later(() => done(nobody(to))),
      open: (to, _protocol, done) => later(() => done(nobody(to))),
      serve: () => {},
      allow: () => {},
      part: () => {},
      shape: () => {},
      connected: () => [],
      watch: () => {},
      rttMs: () => undefined,
      path: () => undefined,
      addresses: () => [],
      blame: () => {},
    },
    broadcast: { publish: () => {}, subscribe: () => {} },
    directory: {
      provide: () => {},
      withdraw: () => {},
      find: (_key, _limit, _timeoutMs, done) => later(() => done(ok([]))),
    },
    door: { open: (_handler, done) => later(() => done(nobody(self))), close: () => {}, addresses: () => [] },
  }
}
