/**
 * From what a person typed to what is meant: a name, `site/name`, an id, or the unique beginning of an id (4 characters
 * or more). A bare name means the own site, then the mesh if it is unique there; else the choices are shown.
 */
import type { Failure } from '../protocols/errors.ts'
import type { PeerId, VmId } from '../protocols/ids.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import type { Context } from './context.ts'

/** One thing that has a name in a site. */
type Named = { readonly id: string; readonly name: string; readonly site: string }

export type FoundVm = Named & { readonly id: VmId; readonly siteId: string; readonly host: PeerId }
export type FoundPeer = Named & { readonly id: PeerId; readonly siteId: string }

const PREFIX_MIN = 4
const CHOICES_MAX = 8

export function find<T extends Named>(
  what: string,
  typed: string,
  all: readonly T[],
  ownSite: string,
): Outcome<T> {
  const slash = typed.indexOf('/')
  const site = slash < 0 ? undefined : typed.slice(0, slash)
  const name = typed.slice(slash + 1)
  const near = all.filter((each) => site === undefined || each.site === site)
  const tries = [
    near.filter((each) => each.name === name && each.site === (site ?? ownSite)),
    near.filter((each) => each.name === name),
    near.filter((each) => each.id === name),
    name.length >= PREFIX_MIN ? near.filter(({ id }) => id.startsWith(name) || id.endsWith(name)) : [],
  ]
  const found = tries.find((each) => each.length > 0) ?? []
  const [first] = found
  if (first === undefined) return failed({ code: 'NOT_FOUND', what, name: typed })
  if (found.length === 1) return ok(first)
  const choices = found.slice(0, CHOICES_MAX).map((each) => `${each.site}/${each.name}`)
  return failed<T>({ code: 'AMBIGUOUS', what, name: typed, choices } satisfies Failure)
}

/** VMs of the own site as agreed, of other sites as their digests say. */
function allVms({ agreement, config, observation }: Context): FoundVm[] {
  const own = Object.values(agreement.site.state.vms).map(({ id, name, host }) => ({
    id,
    name,
    host,
    site: config.identity.siteName,
    siteId: config.identity.site,
  }))
  const known = new Set(own.map(({ id }) => id))
  const others = Object.values(agreement.mesh.state.sites).flatMap((site) => {
    if (site.id === config.identity.site) return []
    const vms = observation.digest(site.id)?.digest.vms ?? []
    return vms.flatMap(({ id, name, host }) =>
      known.has(id) ? [] : [{ id, name, host, site: site.name, siteId: site.id }],
    )
  })
  return [...own, ...others]
}

function allPeers({ agreement }: Context): FoundPeer[] {
  const { peers, sites } = agreement.mesh.state
  return Object.values(peers).map(({ id, name, site }) => ({
    id,
    name,
    site: sites[site]?.name ?? site,
    siteId: site,
  }))
}

export const findVm = (context: Context, typed: string): Outcome<FoundVm> =>
  find('vm', typed, allVms(context), context.config.identity.siteName)

export const findPeer = (context: Context, typed: string): Outcome<FoundPeer> =>
  find('peer', typed, allPeers(context), context.config.identity.siteName)

export const nameOfPeer = ({ agreement }: Context, peer: PeerId): string =>
  agreement.mesh.state.peers[peer]?.name ?? peer.slice(-8)
