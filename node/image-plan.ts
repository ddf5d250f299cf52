/**
 * `image pull --dry-run`: how many bytes would cross which link. Nothing is fetched but the manifest, if it is not here: what is
 * missing cannot be told without it. It stays, so that it is not fetched again.
 */
import { type Plan, planDownload } from '../migration/holdings/planning.ts'
import type { Candidate } from '../migration/holdings/survey.ts'
import type { PeerId } from '../protocols/ids.ts'
import { PLANNED_PEERS_MAX } from '../protocols/limits.ts'
import { type Done, ok } from '../protocols/outcome.ts'
import { withBases } from '../storage/images/bases.ts'
import type { Manifest } from '../storage/images/manifest.ts'
import type { Context } from './context.ts'
import { findAnywhere, type FoundImage } from './image-find.ts'
import { holdersOf, sourcesOf } from './image-pull.ts'
import { nameOfPeer } from './lookup.ts'
import type { Params } from './operations.ts'
import type { PlanView } from './views.ts'

/** A person waits; who is found later is found by the pull. */
const DIRECTORY_MS = 1_500

export function planPull(context: Context, { name, from }: Params<'image.plan'>, done: Done<PlanView>): void {
  const sources = sourcesOf(context, from)
  if (!sources.ok) return done(sources)
  findAnywhere(context, name, (found) => {
    if (!found.ok) return done(found)
    const only = sources.value
    candidatesOf(context, found.value, only, (candidates) =>
      withManifest(context, found.value, only, (manifest) => {
        if (!manifest.ok) return done(manifest)
        const { bases, clock, dice, transport } = context.ports
        const chunks = bases === undefined ? context.ports.chunks : withBases(context.ports.chunks, bases)
        const { manifest: known, wireBytes } = manifest.value
        planDownload({ chunks, clock, dice, transport }, known, candidates, (plan) =>
          done(plan.ok ? ok(viewOf(context, found.value, known, wireBytes, plan.value)) : plan),
        )
      }),
    )
  })
}

/** Those that a pull would ask: the same, or who is named and connected, and who the directory finds. */
function candidatesOf(
  context: Context,
  { image, site }: FoundImage,
  only: readonly PeerId[],
  done: (candidates: Candidate[]) => void,
): void {
  const { agreement, config, ports } = context
  const { peers, sites } = agreement.mesh.state
  const candidate = (peer: PeerId): Candidate[] => {
    const at = peers[peer]?.site
    if (at === undefined || peer === config.identity.peer) return []
    return [{ peer, site: sites[at]?.name ?? at, near: at === config.identity.site }]
  }
  if (only.length > 0) return done(only.flatMap(candidate))
  ports.directory.find(image, PLANNED_PEERS_MAX, DIRECTORY_MS, (outcome) => {
    const found = outcome.ok ? outcome.value : []
    const all = new Set([...holdersOf(context, site), ...found, ...ports.transport.connected()])
    const near = [...all].flatMap(candidate).toSorted((a, b) => Number(b.near) - Number(a.near))
    done(near.slice(0, PLANNED_PEERS_MAX))
  })
}

function withManifest(
  context: Context,
  { image, site }: FoundImage,
  only: readonly PeerId[],
  done: Done<{ manifest: Manifest; wireBytes: number }>,
): void {
  context.ports.manifests.get(image, (held) => {
    if (held.ok) return done(ok({ manifest: held.value, wireBytes: 0 }))
    const exclusive = only.length > 0
    const sources = exclusive ? only : holdersOf(context, site)
    context.download(
      image,
      { sources, exclusive, only: 'manifest' },
      {
        onProgress: () => {},
        done: (outcome) => {
          if (!outcome.ok) return done(outcome)
          const { manifest, report } = outcome.value
          done(ok({ manifest, wireBytes: report.wireBytes }))
        },
      },
    )
  })
}

const viewOf = (
  context: Context,
  { image, name, site }: FoundImage,
  { bytes }: Manifest,
  manifestBytes: number,
  { frameBytes, silent, unable, links, ...plan }: Plan,
): PlanView => ({
  id: image,
  name,
  site,
  bytes,
  ...plan,
  storedBytes: Math.round(frameBytes),
  manifestBytes,
  links: [...links],
  silent: silent.map((peer) => nameOfPeer(context, peer)),
  unable: unable.map((peer) => nameOfPeer(context, peer)),
  ageMs: 0,
})
