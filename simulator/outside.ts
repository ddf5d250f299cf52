/** The gateway's twin (migration/torrent/gateway.ts): a simulated world has nothing outside of its mesh. */
import type { Gateway } from '../migration/torrent/gateway.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import type { World } from './world.ts'

const TURN_MS = 1

export function nothingOutside(world: World): Gateway {
  const refuse = (done: Done<never>): { cancel(): void } => {
    world.after(TURN_MS, () => done(failed({ code: 'UNSUPPORTED', what: 'a world outside of a simulation' })))
    return { cancel: () => {} }
  }
  return {
    fetch: (_, __, done) => refuse(done),
    hash: (_, __, ___, done) => refuse(done),
    serve: (_, done) => void refuse(done),
    unserve: (_, done) => void world.after(TURN_MS, () => done(ok(undefined))),
    served: (done) => void world.after(TURN_MS, () => done(ok([]))),
    keep: (_, __, ___, done) => void refuse(done),
    kept: (_, done) => void refuse(done),
    forget: (_, done) => void world.after(TURN_MS, () => done(ok(undefined))),
  }
}
