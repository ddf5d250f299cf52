/** Images as operators see them: names agreed on by the site, chunks that are here or can be had, jobs that move them. */
import type { Failure } from '../protocols/errors.ts'
import { newUlid } from '../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { chunkCount, type Manifest } from '../storage/images/manifest.ts'
import type { Fetched } from '../migration/torrent/gateway.ts'
import type { SiteImage } from './catalog/site.ts'
import type { Context } from './context.ts'
import { IMAGE_NAME, imagesNamed } from './image-find.ts'
import { imageLocations } from './image-locations.ts'
import { planPull } from './image-plan.ts'
import { fetchOutside } from './image-outside.ts'
import { pullImage } from './image-pull.ts'
import { heldOf } from './keeping/held.ts'
import type { Params } from './operations.ts'
import type { PublishedNow } from './publishing.ts'
import { agreedAge } from './show.ts'
import type { ImageView, JobView } from './views.ts'

/** Images of one site that begin alike: more are no answer to anybody. */
const FOUND_MAX = 16

export function imageHandlers(context: () => Context): Record<string, unknown> {
  return {
    'image.list': (_: unknown, done: Done<unknown>) =>
      showImages(context(), Object.values(context().agreement.site.state.images), done),
    'image.show': ({ name }: Params<'image.show'>, done: Done<unknown>) => {
      const image = findImage(context(), name)
      if (!image.ok) return done(image)
      showImages(context(), [image.value], (outcome) => done(outcome.ok ? ok(outcome.value[0]) : outcome))
    },
    'image.import': (params: Params<'image.import'>, done: Done<unknown>) =>
      importImage(context(), params, done),
    'image.export': ({ name, path }: Params<'image.export'>, done: Done<unknown>) =>
      withManifest(context(), name, 'image-export', done, (manifest, end) =>
        context().ports.images.export(manifest, path, end),
      ),
    'image.pull': (params: Params<'image.pull'>, done: Done<unknown>) => pullImage(context(), params, done),
    'image.plan': (params: Params<'image.plan'>, done: Done<unknown>) => planPull(context(), params, done),
    'image.locations': imageLocations(context),
    'image.find': ({ name }: Params<'image.show'>, done: Done<unknown>) =>
      done(ok(imagesNamed(context().agreement.site.state.images, name).slice(0, FOUND_MAX))),
    'image.verify': ({ name }: Params<'image.verify'>, done: Done<unknown>) =>
      verifyImage(context(), name, done),
  }
}

/** By its name at this site, its id, or the unique beginning of it. */
export function findImage({ agreement }: Context, typed: string): Outcome<SiteImage> {
  const near = imagesNamed(agreement.site.state.images, typed)
  const [first] = near
  if (first === undefined) return failed({ code: 'NOT_FOUND', what: 'image', name: typed })
  if (near.every(({ image }) => image === first.image)) return ok(first)
  return failed({
    code: 'AMBIGUOUS',
    what: 'image',
    name: typed,
    choices: near.slice(0, 8).map(({ name }) => name),
  })
}

function importImage(context: Context, params: Params<'image.import'>, done: Done<unknown>): void {
  const { agreement, jobs, ports } = context
  const { name, path, format } = params
  if (!IMAGE_NAME.test(name))
    return done(failed({ code: 'USAGE', why: `${name} is no name for an image: use a-z, 0-9 and -` }))
  if (agreement.site.state.images[name] !== undefined)
    return done(failed({ code: 'NAME_TAKEN', what: 'image', name }))
  const job = newUlid(ports.clock.wallMs(), ports.dice)
  /** Why it was stopped from here. */
  let stopped: Failure | undefined
  const stop = (failure: Failure): void => {
    stopped ??= failure
    work.cancel()
  }
  const room = context.keeping.room.watch(`import of ${name}`, stop)
  const arrived: Done<Fetched> = (outcome) => {
    room.release()
    if (!outcome.ok) return jobs.end(job, stopped ?? outcome.failure)
    const { manifest, dataBytes, newBytes } = outcome.value
    jobs.progress(job, { phase: 'naming', logicalBytes: manifest.bytes, dedupBytes: newBytes })
    const command = {
      kind: 'image-name' as const,
      name,
      image: manifest.image,
      bytes: manifest.bytes,
      dataBytes,
    }
    agreement.proposeSite(command, (named) => {
      if (!named.ok) return jobs.end(job, named.failure)
      ports.directory.provide(manifest.image)
      jobs.end(job, undefined, { result: { image: manifest.image, name } })
    })
  }
  jobs.begin(job, 'image-import', name, () =>
    stop({ code: 'MOVE_CANCELLED', vm: name, why: 'cancelled by the operator' }),
  )
  const work =
    fetchOutside(context, params, job, (contentBytes) => room.expects(contentBytes), arrived) ??
    ports.images.import(
      path,
      format,
      (doneBytes, totalBytes) => {
        room.expects(totalBytes)
        jobs.progress(job, { phase: 'importing', doneBytes, totalBytes })
      },
      arrived,
    )
  done(ok({ job }))
}

function verifyImage(context: Context, name: string, done: Done<unknown>): void {
  withManifest(context, name, 'image-verify', done, (manifest, end, job) =>
    context.ports.images.verify(
      manifest,
      (doneBytes, totalBytes) => context.jobs.progress(job, { phase: 'verifying', doneBytes, totalBytes }),
      (outcome) => {
        if (!outcome.ok) return end(outcome)
        const { missing, corrupt } = outcome.value
        if (corrupt > 0)
          return end(
            failed({
              code: 'DATA_CORRUPT',
              what: `image ${name}`,
              why: `${corrupt} chunks are not what they were`,
            }),
          )
        if (missing > 0) return end(failed({ code: 'CHUNK_MISSING', image: name, chunks: missing }))
        end(ok(undefined))
      },
    ),
  )
}

/** What a job tells besides the image. */
type Results = Readonly<Record<string, string>>

/** A job on an image whose manifest is here; what is missing of it is pulled first. */
export function withManifest(
  context: Context,
  typed: string,
  kind: JobView['kind'],
  done: Done<unknown>,
  work: (manifest: Manifest, end: Done<Results | void>, job: string) => void,
): void {
  const { jobs, ports } = context
  const found = findImage(context, typed)
  if (!found.ok) return done(found)
  const { image, bytes, name } = found.value
  const job = newUlid(ports.clock.wallMs(), ports.dice)
  const use = context.keeping.use(image)
  const end: Done<Results | void> = (outcome) => {
    use.release()
    jobs.end(
      job,
      outcome.ok ? undefined : outcome.failure,
      outcome.ok ? { result: { image, name, ...outcome.value } } : {},
    )
  }
  const pull = context.pull(
    [{ image, bytes }],
    [],
    ({ doneBytes, totalBytes, dedupBytes, compressedBytes, wireBytes, sources }) =>
      jobs.progress(job, {
        phase: 'pulling',
        doneBytes,
        totalBytes,
        dedupBytes,
        compressedBytes,
        wireBytes,
        sources,
      }),
    (pulled) => {
      if (!pulled.ok) return end(pulled)
      ports.manifests.get(image, (manifest) => {
        if (!manifest.ok) return end(manifest)
        work(manifest.value, end, job)
      })
    },
  )
  jobs.begin(job, kind, name, () => pull.cancel())
  done(ok({ job }))
}

const NOTHING = { missing: 0, bytes: 0 }

function showImages(context: Context, images: readonly SiteImage[], done: Done<ImageView[]>): void {
  context.publishing.list((published) => showEach(context, images, published.ok ? published.value : [], done))
}

function showEach(
  context: Context,
  images: readonly SiteImage[],
  published: readonly PublishedNow[],
  done: Done<ImageView[]>,
): void {
  const { agreement, ports } = context
  const agreed = agreedAge(context, 'site')
  const references = context.keeping.references()
  const views: ImageView[] = []
  const next = (index: number): void => {
    const image = images[index]
    if (image === undefined) return done(ok(views.toSorted((a, b) => a.name.localeCompare(b.name))))
    const usedBy = Object.values(agreement.site.state.vms)
      .filter(({ disks }) => disks.some((disk) => disk.image === image.image))
      .map(({ name }) => name)
    const { name, bytes, dataBytes } = image
    const pinned = context.keeping.pins.has(image.image)
    const kept = references.get(image.image) ?? []
    const site = context.config.identity.siteName
    const mine = published.filter((each) => each.image === image.image).map(publishedView)
    const named = { id: image.image, name, site, bytes, dataBytes, usedBy }
    const view = { ...named, pinned, kept, published: mine, ...agreed }
    ports.manifests.get(image.image, (manifest) => {
      if (!manifest.ok) {
        views.push({ ...view, chunks: 0, missing: 0, heldBytes: 0, share: 0 })
        return next(index + 1)
      }
      heldOf(manifest.value, ports.chunks, (held) => {
        // Of one that the disk has changed nothing is known.
        const { missing, bytes: heldBytes } = held.ok ? held.value : NOTHING
        const chunks = held.ok ? chunkCount(manifest.value) : 0
        const share = chunks === 0 ? 0 : (chunks - missing) / chunks
        views.push({ ...view, chunks, missing, heldBytes, share })
        next(index + 1)
      })
    })
  }
  next(0)
}

const publishedView = (now: PublishedNow): ImageView['published'][number] => {
  const { address, infoHash, peers, private: isPrivate, trackers, uploadedBytes } = now
  return { infoHash, address, trackers: [...trackers], private: isPrivate, peers, uploadedBytes }
}
