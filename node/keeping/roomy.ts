/**
 * Placement that asks: the host that placement chooses says whether the images it lacks have room there, before anything is agreed
 * on; when they have not, the next one is chosen. A host that does not say (out of sight, or of an older version) is
 * taken at its committed capacity, as ever.
 */
import { z } from 'zod'
import { describeFailure } from '../../protocols/errors.ts'
import type { ImageId } from '../../protocols/ids.ts'
import { DISKS_MAX, FRAME_SHARE, IMAGE_BYTES_MAX } from '../../protocols/limits.ts'
import { type Done, ok, type Outcome } from '../../protocols/outcome.ts'
import { missingOf } from '../../migration/swarm/missing.ts'
import type { Context } from '../context.ts'
import { type Host, place, type Placed, type PlaceRequest } from '../placement/place.ts'

export const roomParams = z.strictObject({
  what: z.string().max(128),
  images: z
    .array(
      z.strictObject({
        image: z.string().regex(/^[0-9a-f]{64}$/),
        dataBytes: z.number().min(0).max(IMAGE_BYTES_MAX),
      }),
    )
    .max(DISKS_MAX),
})
export type RoomParams = z.infer<typeof roomParams>

/** Who creates a VM waits for it. A host that has to ask around first is taken: it refuses when it fetches. */
const ROOM_MS = 2_000

export function placeRoomy(
  context: Pick<Context, 'asking'>,
  request: PlaceRequest,
  hosts: readonly Host[],
  params: RoomParams,
  done: (placed: Placed) => void,
): void {
  const placed = place(request, hosts)
  if (!placed.ok) return done(placed)
  const heard = (outcome: Outcome<unknown>): void => {
    if (outcome.ok || outcome.failure.code !== 'QUOTA') return done(placed)
    const why = describeFailure(outcome.failure)
    const others = hosts.map((host) => (host.id === placed.host ? { ...host, available: false, why } : host))
    placeRoomy(context, request, others, params, done)
  }
  context.asking.there(placed.host, 'image.room', params, heard, 0, ROOM_MS)
}

/** At the host: QUOTA when what is missing of these images here has no room, and none can be made. */
export function answerRoom(
  { keeping, ports }: Pick<Context, 'keeping' | 'ports'>,
  { what, images }: RoomParams,
  done: Done<{ room: true }>,
): void {
  const next = (index: number, contentBytes: number): void => {
    const each = images[index]
    if (each === undefined)
      return keeping.room.fits(what, contentBytes * FRAME_SHARE, (outcome) =>
        done(outcome.ok ? ok({ room: true }) : outcome),
      )
    lacking(ports, each.image, each.dataBytes, (bytes) => next(index + 1, contentBytes + bytes))
  }
  next(0, 0)
}

/** Content of an image that is missing here; all of its data where nothing is known of it. */
function lacking(
  { chunks, manifests }: Pick<Context['ports'], 'chunks' | 'manifests'>,
  image: ImageId,
  dataBytes: number,
  done: (bytes: number) => void,
): void {
  manifests.get(image, (manifest) => {
    if (!manifest.ok) return done(dataBytes)
    missingOf(manifest.value, chunks, (missing) =>
      done(missing.ok ? missing.value.count * manifest.value.chunkBytes : dataBytes),
    )
  })
}
