/**
 * `image pull`: an image of any site's catalog comes to this peer, and is named at this site so that VMs can begin from it.
 *
 *   finding (2 s at most) ─▶ job: pulling ─▶ naming ─▶ done
 *
 * What was verified stays, whatever ends the job: the same command goes on from there.
 */
import { type Failure } from '../protocols/errors.ts'
import { newUlid, type PeerId } from '../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { chunkAt, chunkCount, chunkLength, type Manifest } from '../storage/images/manifest.ts'
import type { Report } from '../migration/swarm/swarm.ts'
import { siteNamed } from './catalog/mesh.ts'
import type { Context } from './context.ts'
import type { Jobs } from './jobs.ts'
import { findAnywhere, type FoundImage, IMAGE_NAME } from './image-find.ts'
import { findPeer } from './lookup.ts'
import type { Params } from './operations.ts'

export function pullImage(
  context: Context,
  { name, from, as, bwlimit }: Params<'image.pull'>,
  done: Done<{ job: string }>,
): void {
  const sources = sourcesOf(context, from)
  if (!sources.ok) return done(sources)
  findAnywhere(context, name, (outcome) => {
    if (!outcome.ok) return done(outcome)
    const found = outcome.value
    const called = as === '' ? found.name : as
    const refused = called === '' ? undefined : refusesName(context, called, found.image)
    if (refused !== undefined) return done(failed(refused))
    done(ok({ job: begin(context, found, called, { sources: sources.value, bytesPerSecond: bwlimit }) }))
  })
}

/** What was typed after --from, as peers; those of the mesh only. */
export function sourcesOf(context: Context, from: readonly string[]): Outcome<PeerId[]> {
  const peers: PeerId[] = []
  for (const typed of from) {
    const found = findPeer(context, typed)
    if (!found.ok) return found
    peers.push(found.value.id)
  }
  return ok(peers)
}

/** Why it cannot be called that at this site; undefined when it can, or is. */
function refusesName({ agreement }: Context, name: string, image: string): Failure | undefined {
  if (!IMAGE_NAME.test(name))
    return { code: 'USAGE', why: `${name} is no name for an image: use a-z, 0-9 and -` }
  const known = agreement.site.state.images[name]
  return known === undefined || known.image === image
    ? undefined
    : { code: 'NAME_TAKEN', what: 'image', name }
}

function begin(
  context: Context,
  found: FoundImage,
  called: string,
  { sources, bytesPerSecond }: { sources: readonly PeerId[]; bytesPerSecond: number | undefined },
): string {
  const { agreement, download, jobs, ports } = context
  const { image } = found
  const job = newUlid(ports.clock.wallMs(), ports.dice)
  const use = context.keeping.use(image)
  let stopped: Failure | undefined
  const room = context.keeping.room.watch(`image ${called || image.slice(0, 12)}`, (failure) => {
    stopped = failure
    pull.cancel()
  })
  const end: Jobs['end'] = (...terms) => {
    use.release()
    room.release()
    jobs.end(...terms)
  }
  const pull = download(
    image,
    {
      sources: sources.length > 0 ? sources : holdersOf(context, found.site),
      exclusive: sources.length > 0,
      bytesPerSecond,
    },
    {
      onProgress: ({ doneBytes, totalBytes, dedupBytes, compressedBytes, wireBytes, sources: count }) => {
        room.look()
        jobs.progress(job, {
          phase: 'pulling',
          doneBytes,
          totalBytes,
          logicalBytes: totalBytes,
          dedupBytes,
          compressedBytes,
          wireBytes,
          sources: count,
        })
      },
      done: (outcome) => {
        if (!outcome.ok) return end(job, stopped ?? outcome.failure)
        const { manifest, report } = outcome.value
        jobs.progress(job, { phase: 'naming', ...figures(report) })
        const named: Done<unknown> = (last) =>
          end(job, last.ok ? undefined : last.failure, {
            result: { image, ...(called !== '' && { name: called }) },
          })
        if (called === '' || agreement.site.state.images[called]?.image === image) return named(ok(undefined))
        const dataBytes = dataBytesOf(manifest)
        agreement.proposeSite(
          { kind: 'image-name', name: called, image, bytes: manifest.bytes, dataBytes },
          named,
        )
      },
    },
  )
  jobs.begin(job, 'image-pull', called || image.slice(0, 12), () => pull.cancel())
  return job
}

/** Peers of the site whose catalog names it: likely to hold it, and asked first. */
export function holdersOf({ agreement, ports }: Context, site: string): PeerId[] {
  const { peers } = agreement.mesh.state
  const id = siteNamed(agreement.mesh.state, site)?.id
  const connected = new Set(ports.transport.connected())
  return Object.values(peers).flatMap((peer) =>
    peer.site === id && peer.id !== ports.transport.self && connected.has(peer.id) ? [peer.id] : [],
  )
}

const figures = ({ logicalBytes, dedupBytes, compressedBytes, wireBytes, sources }: Report): object => ({
  doneBytes: logicalBytes,
  totalBytes: logicalBytes,
  logicalBytes,
  dedupBytes,
  compressedBytes,
  wireBytes,
  sources,
})

function dataBytesOf(manifest: Manifest): number {
  let bytes = 0
  for (let index = 0; index < chunkCount(manifest); index++)
    if (chunkAt(manifest, index) !== undefined) bytes += chunkLength(manifest, index)
  return bytes
}
