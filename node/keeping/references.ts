/**
 * What on this peer refers to an image, and so keeps its manifest and with it its chunks: the roots of what may go. Pure.
 *
 *   vm      a VM that this host holds a grant for: its disks start from the image, and are captured against it
 *   move    a move under way, on either end: bases, captured disks, disks that were promised
 *   kept    a kept copy of a VM that has moved: what its overlay lies on, and what it is the same as
 *   pin     an operator's word
 *   use     a job that works on it now: a pull, an export, a check, a swarm that it is published to
 *
 * A name is no reference: an image that the site has named may go from a peer where nothing refers to it. But it is
 * *precious*, like what any VM of the site starts from, and like what was promised in a move: it goes only while another
 * peer vouches for its own copy (vouching.ts).
 */
import type { ImageId } from '../../protocols/ids.ts'
import type { Grant, HolderPromise, Pin } from '../../storage/records.ts'
import type { SiteImage, SiteVm } from '../catalog/site.ts'
import type { KeptCopy } from '../hypervisor.ts'

export type Referring = {
  readonly grants: readonly Pick<Grant, 'name' | 'disks'>[]
  readonly moves: readonly { readonly name: string; readonly images: readonly ImageId[] }[]
  /** Promises whose move has not ended, or whose disks are still to be set aside. */
  readonly promises: readonly Pick<HolderPromise, 'vm' | 'disks'>[]
  readonly kept: readonly Pick<KeptCopy, 'vm' | 'bases' | 'content'>[]
  readonly pins: readonly Pick<Pin, 'image'>[]
  readonly uses: readonly ImageId[]
}

/** What refers to each image, in words for people. */
export function references(by: Referring): Map<ImageId, string[]> {
  const found = new Map<ImageId, string[]>()
  const refer = (image: ImageId, what: string): void => {
    const known = found.get(image)
    if (known === undefined) found.set(image, [what])
    else if (!known.includes(what)) known.push(what)
  }
  for (const { name, disks } of by.grants) for (const { image } of disks) refer(image, `vm ${name}`)
  for (const { name, images } of by.moves) for (const image of images) refer(image, `move of ${name}`)
  for (const { vm, disks } of by.promises) for (const { image } of disks) refer(image, `move of ${vm}`)
  for (const { vm, bases, content } of by.kept)
    for (const image of [...bases, ...content]) refer(image, keptReference(vm))
  for (const { image } of by.pins) refer(image, 'pin')
  for (const image of by.uses) refer(image, 'in use')
  return found
}

export const keptReference = (vm: string): string => `kept copy of ${vm}`

/** Images that the site would miss, were theirs the last copy. */
export function precious(
  images: readonly Pick<SiteImage, 'image'>[],
  vms: readonly Pick<SiteVm, 'disks'>[],
  kept: readonly Pick<KeptCopy, 'content'>[],
): Set<ImageId> {
  return new Set([
    ...images.map(({ image }) => image),
    ...vms.flatMap(({ disks }) => disks.map(({ image }) => image)),
    ...kept.flatMap(({ content }) => content),
  ])
}
