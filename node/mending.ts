/**
 * What this host's own records say of a state whose newest entries are lost (node/opening.ts). Only of a group in which nobody
 * else can have acted on them: whoever is admitted is written down under `peer/` before any later entry is (batches reach
 * the disk in order), so where no other peer is written down, nobody else was ever granted or told anything.
 *
 * Of a site, the grants win: what this host holds is placed here, under the epoch, wanted state and disks of the grant. So a VM that was
 * created is not lost, one that was stopped is not started, and one that was given up stays so, because its promise is kept
 * apart too and checked before every start. What only the lost entries knew (a host's new capacity, an image's name) is asked for
 * again or gone.
 */
import { compareEpochs } from '../protocols/epoch.ts'
import type { PeerId } from '../protocols/ids.ts'
import { key } from '../storage/keyspace.ts'
import { grant as grantRecord, knownPeer } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import { recovered } from './catalog/recovery.ts'
import type { MeshState } from './catalog/mesh.ts'
import type { SiteState, SiteVm } from './catalog/site.ts'

type Recovered = Pick<Store, 'recovered'>

const othersKnown = (store: Recovered, self: PeerId): PeerId[] =>
  store
    .recovered(key('peer'))
    .map(([, value]) => knownPeer.decode(value).id)
    .filter((id) => id !== self)

export function mendMesh(
  store: Recovered,
  self: PeerId,
  state: MeshState,
  generation: number,
): MeshState | undefined {
  if (othersKnown(store, self).length > 0) return undefined
  // One of them may have been used in what is lost.
  for (const token of Object.values(state.tokens)) if (token.state === 'open') token.state = 'revoked'
  state.recovery = recovered(generation, [self], state.recovery)
  return state
}

/** `mesh`: the newest mesh state that is here, if one is. It says of which site the peers are that this one knows. */
export function mendSite(
  store: Recovered,
  {
    peer,
    site,
    mesh,
  }: { readonly peer: PeerId; readonly site: string; readonly mesh: MeshState | undefined },
  state: SiteState,
  generation: number,
): SiteState | undefined {
  const elsewhere = (id: PeerId): boolean => (mesh?.peers[id]?.site ?? site) !== site
  if (!othersKnown(store, peer).every(elsewhere)) return undefined
  for (const [, value] of store.recovered(key('grant'))) {
    const { terms: _terms, boot: _boot, index: _index, vm: id, ...held } = grantRecord.decode(value)
    const known = state.vms[id]
    // Then this host's grant is history, and the record says who has the VM, or that it is no more.
    if (known !== undefined && compareEpochs(known.epoch, held.epoch) > 0) continue
    const gone = state.tombstones?.find((each) => each.vm === id)
    if (gone !== undefined && compareEpochs(gone.epoch, held.epoch) >= 0) continue
    const vm: SiteVm = { kill: false, ...known, ...held, id, host: peer }
    // A move under an older epoch is over; under this one its logs say what became of it.
    if (known !== undefined && compareEpochs(known.epoch, held.epoch) < 0) delete vm.move
    state.vms[id] = vm
  }
  // Epochs given from now on are above any that is lost.
  state.recovery = recovered(generation, [peer], state.recovery)
  return state
}
