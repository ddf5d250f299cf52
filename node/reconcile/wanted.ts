/**
 * What is wanted of a VM here, from what the site's group agreed on, what the mesh's group knows, and what this host holds.
 * Pure: these are the rules by which a grant follows its log, and what plan.ts is told.
 */
import { compareEpochs, type Epoch } from '../../protocols/epoch.ts'
import type { PeerId, VmId } from '../../protocols/ids.ts'
import type { Done } from '../../protocols/outcome.ts'
import type { Grant } from '../../storage/records.ts'
import { type SiteVm, specOf } from '../catalog/site.ts'
import { givenUp, type Local } from './local.ts'
import type { Wanted } from './plan.ts'

/** What a VM asks of its surroundings; answered by compose.ts. */
export type Surroundings = {
  readonly self: PeerId
  /** Id of this boot of the machine. */
  readonly boot: string
  /** The VM as the site's group has it, if it does. */
  agreed(vm: VmId): SiteVm | undefined
  /** VMs the site's group has placed here. */
  placedHere(): SiteVm[]
  /** How far the site's log is applied here. */
  agreedIndex(): number
  /** The epoch of a home elsewhere, when the mesh's group knows of one. */
  homeElsewhere(vm: VmId): Epoch | undefined
  /** Why nothing may be begun or ended for any VM: the data folder is not to be believed, or not yet. */
  unheard(): string | undefined
  /** Why this VM may not be started, though this host holds a grant for it. */
  doubt(vm: VmId): string | undefined
  /** A move has the guest in its hands. */
  moveHolds(vm: VmId): boolean
  /** How move m of the VM ended, when its log says so. */
  moveEnded(vm: VmId, m: string): 'taken' | 'cancelled' | undefined
  /** First VM that this one depends on and that is not seen running. */
  unmetDependency(names: readonly string[]): string | undefined
  fetch(vm: VmId, images: readonly { image: string; bytes: number }[], done: Done<void>): void
  /** The guest powered itself off: it is to stay off. Called until it is agreed; so is `gone`. */
  wantStopped(vm: VmId): void
  /** Guest, disks and grant are gone. */
  gone(vm: VmId, epoch: Epoch): void
  changed(): void
}

/** A dependency that does not come up holds its dependents this long and no longer. */
const DEPENDENCY_MS = 300_000

/** The grant that follows from what the site's group says of a VM placed here; undefined when what is held stays. */
export function grantFrom(agreed: SiteVm, local: Local, index: number): Grant | undefined {
  const { grant: held } = local
  if (givenUp(local, agreed.epoch)) return undefined
  const next: Grant = {
    vm: agreed.id,
    name: agreed.name,
    epoch: agreed.epoch,
    terms: 'held',
    spec: agreed.spec,
    disks: agreed.disks,
    wanted: agreed.wanted,
    deleting: agreed.deleting,
    boot: held?.boot ?? '',
    index,
  }
  if (held === undefined) return next
  const newer = compareEpochs(next.epoch, held.epoch)
  if (newer < 0) return undefined
  // After a start the log is applied anew: until it has come as far as it was, this host knows better what is wanted.
  if (newer === 0 && index < (held.index ?? 0)) return undefined
  return sameGrant(held, next) ? undefined : next
}

/** Alike in all that anybody acts on: how far the log was applied is no reason to write. */
const sameGrant = (a: Grant, b: Grant): boolean =>
  compareEpochs(a.epoch, b.epoch) === 0 &&
  a.spec === b.spec &&
  a.wanted === b.wanted &&
  a.deleting === b.deleting &&
  a.name === b.name

/** All that plan.ts has to know about what is wanted. */
export function wantedOf(local: Local, around: Surroundings, nowMs: number): Wanted {
  const agreed = around.agreed(local.vm)
  return {
    wanted: local.poweredOff ? 'stopped' : (local.grant?.wanted ?? 'stopped'),
    grant: local.grant?.epoch,
    promised: local.promise?.epoch,
    agreed: highest(agreed, around.homeElsewhere(local.vm), around.self),
    deleting: local.grant?.deleting ?? false,
    moving: around.moveHolds(local.vm),
    kill: agreed?.kill ?? false,
    wait: waitOf(local, around, nowMs),
  }
}

function highest(agreed: SiteVm | undefined, elsewhere: Epoch | undefined, self: PeerId): Wanted['agreed'] {
  if (elsewhere !== undefined && (agreed === undefined || compareEpochs(elsewhere, agreed.epoch) > 0))
    return { epoch: elsewhere, here: false }
  return agreed && { epoch: agreed.epoch, here: agreed.host === self }
}

/** First reason to put a start off, in words for people. */
function waitOf(local: Local, around: Surroundings, nowMs: number): string | undefined {
  const { asked, grant, notBeforeMs, waitingSinceMs } = local
  if (grant === undefined) return undefined
  const doubt = around.doubt(grant.vm)
  if (doubt !== undefined) return doubt
  const spec = specOf(grant)
  const otherBoot = grant.boot !== '' && grant.boot !== around.boot
  if (otherBoot && !spec.autostart && !asked) return 'autostart is off'
  const unmet = around.unmetDependency(spec.dependsOn)
  if (unmet !== undefined && waitingSinceMs > 0 && nowMs - waitingSinceMs < DEPENDENCY_MS)
    return `${unmet} does not run yet`
  if (nowMs < notBeforeMs) return `tries again in ${Math.ceil((notBeforeMs - nowMs) / 1_000)} s`
  return undefined
}

/** Since when a VM that it depends on is missing. */
export function waitingSince({ grant, waitingSinceMs }: Local, around: Surroundings, nowMs: number): number {
  if (grant === undefined || around.unmetDependency(specOf(grant).dependsOn) === undefined) return 0
  return waitingSinceMs || nowMs
}
