/** Pins, what may go, and kept copies, as operators and other peers ask for them. */
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { chunkCount } from '../../storage/images/manifest.ts'
import type { Context } from '../context.ts'
import { findImage } from '../images.ts'
import { heldOf } from './held.ts'
import { answerRoom, type RoomParams } from './roomy.ts'
import { findPeer } from '../lookup.ts'
import type { Params } from '../operations.ts'
import type { PinView } from '../views.ts'

/** A peer of another site does not know the name. */
const ID = /^[0-9a-f]{64}$/
/** To count what is missing of a terabyte. */
const PIN_MS = 20_000

export function keepingHandlers(context: () => Context): Record<string, unknown> {
  return {
    'image.pin': (params: Params<'image.pin'>, done: Done<unknown>, hops: number) =>
      pin(context(), params, done, hops),
    'image.kept': (_: unknown, done: Done<unknown>) => context().keeping.kept.list(done),
    'image.prune': (params: Params<'image.prune'>, done: Done<unknown>) =>
      context().keeping.pruning.prune(params, done),
    /** Between peers: roomy.ts. */
    'image.room': (params: RoomParams, done: Done<unknown>) => answerRoom(context(), params, done),
    /** Between peers: vouching.ts. */
    'image.vouch': ({ images }: { images: readonly ImageId[] }, done: Done<unknown>) =>
      context().keeping.vouching.answer(images, done),
  }
}

function pin(
  context: Context,
  { name: typed, peer, undo }: Params<'image.pin'>,
  done: Done<unknown>,
  hops: number,
): void {
  const found = findImage(context, typed)
  if (!found.ok && !ID.test(typed)) return done(found)
  const { image, name } = found.ok ? found.value : { image: typed, name: '' }
  const { config, keeping, ports } = context
  if (peer !== undefined) {
    const where = findPeer(context, peer)
    if (!where.ok) return done(where)
    if (where.value.id !== config.identity.peer)
      return context.asking.there(where.value.id, 'image.pin', { name: image, undo }, done, hops, PIN_MS)
  }
  const show = (): void =>
    ports.manifests.get(image, (manifest) => {
      const view = { image, name, peer: config.identity.peerName, pinned: keeping.pins.has(image) }
      if (!manifest.ok) return done(ok({ ...view, chunks: 0, missing: 0 } satisfies PinView))
      heldOf(manifest.value, ports.chunks, (held) => {
        if (!held.ok) return done(held)
        const { missing } = held.value
        done(ok({ ...view, chunks: chunkCount(manifest.value), missing } satisfies PinView))
      })
    })
  if (!undo && !ports.manifests.list().includes(image))
    return done(failed({ code: 'NOT_HELD', image: name || image, peer: config.identity.peerName }))
  const settle: Done<void> = (outcome) => (outcome.ok ? show() : done(outcome))
  if (undo) keeping.pins.unpin(image, settle)
  else keeping.pins.pin({ image, name, atMs: ports.clock.wallMs() }, settle)
}
