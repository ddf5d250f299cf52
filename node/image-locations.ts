/**
 * `image locations`: which peers hold how much of an image, asked of them all at once. Who does not answer in HOLDINGS_MS is
 * shown as it was last known, with the age of that, or as unknown.
 */
import {
  type Candidate,
  asMissing,
  survey,
  type Surveyed,
  surveyUnseen,
} from '../migration/holdings/survey.ts'
import type { Holder } from '../migration/holdings/plan.ts'
import type { ImageId, PeerId } from '../protocols/ids.ts'
import { HOLDINGS_MS, LOCATED_IMAGES_KEPT, LOCATED_PEERS_MAX, STALE_MS } from '../protocols/limits.ts'
import { type Done, ok } from '../protocols/outcome.ts'
import { chunkCount, type Manifest, readableChunkAt } from '../storage/images/manifest.ts'
import type { Context } from './context.ts'
import { findAnywhere } from './image-find.ts'
import { heldOf } from './keeping/held.ts'
import { nameOfPeer } from './lookup.ts'
import type { Params } from './operations.ts'
import type { LocationView } from './views.ts'

type Said = {
  readonly held: number
  readonly frameBytes: number
  readonly knows: boolean
  readonly atMs: number
}
/** What peers said of late, by image; the image that was asked about longest ago goes first. */
type Known = Map<ImageId, Map<PeerId, Said>>
type Told = Surveyed & { readonly content: number }

export function imageLocations(
  context: () => Context,
): (params: Params<'image.locations'>, done: Done<LocationView[]>) => void {
  const known: Known = new Map()
  return ({ name }, done) =>
    findAnywhere(context(), name, (found) => {
      if (!found.ok) return done(found)
      locate(context(), found.value.image, knownOf(known, found.value.image), done)
    })
}

function knownOf(known: Known, image: ImageId): Map<PeerId, Said> {
  const there = known.get(image) ?? new Map<PeerId, Said>()
  known.delete(image)
  known.set(image, there)
  for (const oldest of known.keys()) if (known.size > LOCATED_IMAGES_KEPT) known.delete(oldest)
  return there
}

function locate(
  context: Context,
  image: ImageId,
  known: Map<PeerId, Said>,
  done: Done<LocationView[]>,
): void {
  const { ports } = context
  const { clock, dice, transport } = ports
  const candidates = candidatesOf(context)
  const terms = { transport, clock, dice, exact: false, withinMs: HOLDINGS_MS }
  ports.manifests.get(image, (manifest) => {
    const self = transport.self
    const told = (own: Said, surveyed: Told): void => {
      for (const { peer, held, frameBytes, knows } of surveyed.holders)
        known.set(peer, { held, frameBytes, knows, atMs: clock.nowMs() })
      known.set(self, own)
      done(
        ok([self, ...candidates.map(({ peer }) => peer)].map((peer) => view(context, peer, known, surveyed))),
      )
    }
    if (!manifest.ok) {
      const own = { held: 0, frameBytes: 0, knows: false, atMs: clock.nowMs() }
      return surveyUnseen(terms, image, candidates, (surveyed) => told(own, surveyed))
    }
    const content = contentOf(manifest.value)
    heldOf(manifest.value, ports.chunks, (held) => {
      if (!held.ok) return done(held)
      survey(terms, asMissing(manifest.value, content), candidates, (surveyed) => {
        const own = { held: content.length - held.value.missing, frameBytes: held.value.bytes, knows: true }
        told({ ...own, atMs: clock.nowMs() }, { ...surveyed, content: content.length })
      })
    })
  })
}

/** Each content once. */
function contentOf(manifest: Manifest): number[] {
  const seen = new Set<string>()
  const indexes: number[] = []
  for (let index = 0; index < chunkCount(manifest); index++) {
    const id = readableChunkAt(manifest, index)
    if (id === undefined || seen.has(id)) continue
    seen.add(id)
    indexes.push(index)
  }
  return indexes
}

/** Of this site first, then who is connected. */
function candidatesOf({ agreement, config, ports }: Context): Candidate[] {
  const connected = new Set(ports.transport.connected())
  const { peers, sites } = agreement.mesh.state
  const order = (each: Candidate): number => (each.near ? 0 : connected.has(each.peer) ? 1 : 2)
  return Object.values(peers)
    .filter(({ id }) => id !== config.identity.peer)
    .map(({ id, site }): Candidate => ({
      peer: id,
      site: sites[site]?.name ?? site,
      near: site === config.identity.site,
    }))
    .toSorted((a, b) => order(a) - order(b) || a.site.localeCompare(b.site))
    .slice(0, LOCATED_PEERS_MAX)
}

function view(context: Context, peer: PeerId, known: Map<PeerId, Said>, surveyed: Told): LocationView {
  const { agreement, config, observation, ports } = context
  const silent = surveyed.silent.includes(peer)
  const unable = surveyed.unable.includes(peer)
  const said = known.get(peer)
  const nothing =
    said !== undefined && !silent && !unable && !isHolder(surveyed.holders, peer, ports.transport.self)
  const { held = 0, frameBytes = 0, knows = false } = nothing ? {} : (said ?? {})
  const of = surveyed.content
  const isUnknown = (silent || unable) && said === undefined
  const ageMs = isUnknown || (!silent && !unable) ? 0 : ports.clock.nowMs() - (said?.atMs ?? 0)
  const site = agreement.mesh.state.peers[peer]?.site ?? config.identity.site
  return {
    peer: nameOfPeer(context, peer),
    peerId: peer,
    site: agreement.mesh.state.sites[site]?.name ?? site,
    self: peer === ports.transport.self,
    near: site === config.identity.site,
    holds: isUnknown || of === 0 ? 'unknown' : held === 0 ? 'nothing' : held >= of ? 'all' : 'part',
    chunks: held,
    of,
    share: of === 0 ? 0 : Math.min(1, held / of),
    storedBytes: frameBytes,
    manifest: knows,
    why: silent
      ? `no answer in ${HOLDINGS_MS / 1_000} s; ${observation.peerState(peer)}`
      : unable
        ? 'its version cannot say'
        : '',
    rttMs: peer === ports.transport.self ? 0 : (ports.transport.rttMs(peer) ?? null),
    ageMs: Math.round(ageMs),
    stale: isUnknown || ageMs > STALE_MS,
  }
}

const isHolder = (holders: readonly Holder[], peer: PeerId, self: PeerId): boolean =>
  peer === self || holders.some((each) => each.peer === peer)
