/** Port: what the faces (control socket, status endpoint) need of the peer that they stand before. */
import type { Done } from '../../protocols/outcome.ts'
import type { Method } from '../operations.ts'

export type Peer = {
  /** Answers one of OPERATIONS; `params` have passed its schema. */
  ask(method: Method, params: unknown, done: Done<unknown>): void
  ready(): boolean
  /** For people: why it is not, and will not be by itself. */
  unready?(): string | undefined
  /** Ends, with why, when the peer has reason to stop by itself. */
  readonly gone?: Promise<string>
  /** Figures in Prometheus' text format. */
  metrics(done: Done<string>): void
  /** Drains in order; `done` once nothing of the peer will act any more. Guests go on. */
  stop(done: () => void): void
}
