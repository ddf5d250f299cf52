/** Imports whose source is not on this host: torrents and web servers, through the gateway. */
import { type Done, failed } from '../protocols/outcome.ts'
import type { Fetched } from '../migration/torrent/gateway.ts'
import { isPeerAddress } from '../migration/torrent/magnet.ts'
import { sourceKind } from '../migration/torrent/source.ts'
import type { Context } from './context.ts'
import type { Params } from './operations.ts'

/** `expects` is told how much is to come, as soon and as often as that is known. Undefined for what ordinary import reads. */
export function fetchOutside(
  { jobs, ports }: Context,
  { path, format, file, peers, dht, checksum }: Params<'image.import'>,
  job: string,
  expects: (contentBytes: number) => void,
  done: Done<Fetched>,
): { cancel(): void } | undefined {
  if (sourceKind(path) === 'host') return undefined
  const odd = peers.find((peer) => !isPeerAddress(peer))
  if (odd !== undefined) {
    done(failed({ code: 'USAGE', why: `${odd} is no ADDRESS:PORT of a BitTorrent client` }))
    return { cancel: () => {} }
  }
  return ports.gateway.fetch(
    { source: path, format, file, peers, dht, checksum },
    (figures) => {
      if (figures.totalBytes > 0) expects(figures.totalBytes)
      jobs.progress(job, figures)
    },
    done,
  )
}
