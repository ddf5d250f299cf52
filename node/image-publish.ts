/** `image publish` and `image unpublish`: what publishing.ts does, as jobs on images by name. */
import { TRACKERS_MAX } from '../protocols/limits.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import { isTracker } from '../migration/torrent/metainfo.ts'
import type { Context } from './context.ts'
import { findImage, withManifest } from './images.ts'
import type { Params } from './operations.ts'

export function publishHandlers(context: () => Context): Record<string, unknown> {
  return {
    'image.publish': (params: Params<'image.publish'>, done: Done<unknown>) =>
      publishImage(context(), params, done),
    'image.unpublish': ({ name }: Params<'image.unpublish'>, done: Done<unknown>) => {
      const found = findImage(context(), name)
      if (!found.ok) return done(found)
      context().publishing.unpublish(found.value.image, (outcome) => {
        if (outcome.ok && outcome.value === 0)
          return done(failed({ code: 'NOT_FOUND', what: 'publication', name }))
        done(outcome.ok ? ok({ id: found.value.image, name: found.value.name }) : outcome)
      })
    },
  }
}

function publishImage(context: Context, params: Params<'image.publish'>, done: Done<unknown>): void {
  const { jobs, publishing } = context
  const { listen, trackers, path } = params
  const address = publishing.address(listen)
  if (!('listen' in address)) return done(failed(address))
  const odd = trackers.find((url) => !isTracker(url))
  if (odd !== undefined || trackers.length > TRACKERS_MAX)
    return done(
      failed({
        code: 'USAGE',
        why: `${odd ?? `more than ${TRACKERS_MAX}`} is no tracker: use http, https or udp`,
      }),
    )
  withManifest(context, params.name, 'image-publish', done, (manifest, end, job) => {
    const found = findImage(context, params.name)
    const name = `${found.ok ? found.value.name : manifest.image.slice(0, 12)}.raw`
    publishing.publish(
      manifest,
      { name, listen, trackers, private: params.private, path },
      (doneBytes, totalBytes) => jobs.progress(job, { phase: 'hashing', doneBytes, totalBytes }),
      (outcome) => {
        if (!outcome.ok) return end(outcome)
        const { infoHash, address: on } = outcome.value
        const magnet = `magnet:?xt=urn:btih:${infoHash}&dn=${name}&x.pe=${on}`
        end(ok({ torrent: path, infoHash, address: on, magnet }))
      },
    )
  })
}
