/** Names and ids: what each looks like on the wire and on disk, and how new ones are made. */
import { NAME_LENGTH_MAX } from './limits.ts'
import { matching } from './shape.ts'

/** A peer: the text form of its libp2p peer id (Ed25519). */
export type PeerId = string
/** A VM: `<site id>-<ULID>`, so that creations at cut-off sites never clash. */
export type VmId = string
/** An image: the hex of its manifest's Merkle root (SHA-256). */
export type ImageId = string
/** A chunk: the hex of the SHA-256 of its bytes. */
export type ChunkId = string
/** A move, a job, a token: a ULID. */
export type Ulid = string

export const peerId = matching(/^[1-9A-HJ-NP-Za-km-z]{16,64}$/, 'a peer id')
export const ulid = matching(/^[0-9A-HJKMNP-TV-Z]{26}$/, 'a ULID')
export const siteId = matching(/^[0-9a-z]{8}$/, 'a site id of 8 characters')
export const vmId = matching(/^[0-9a-z]{8}-[0-9A-HJKMNP-TV-Z]{26}$/, 'a VM id')
export const imageId = matching(/^[0-9a-f]{64}$/, 'an image id of 64 hex digits')
/** Names of peers, sites, VMs and images: a DNS label, so that they can be host names. */
export const name = matching(
  new RegExp(`^[a-z0-9]([a-z0-9-]{0,${NAME_LENGTH_MAX - 2}}[a-z0-9])?$`),
  `a name of 1..${NAME_LENGTH_MAX} characters a-z, 0-9 and -, not at its ends`,
)

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** A ULID (github.com/ulid/spec): 48 bits of wall clock in ms, 80 bits of dice. Time and dice come in. */
export function newUlid(wallMs: number, dice: () => number): Ulid {
  let time = ''
  for (let rest = Math.floor(wallMs), i = 0; i < 10; i++, rest = Math.floor(rest / 32))
    time = CROCKFORD[rest % 32] + time
  let chance = ''
  for (let i = 0; i < 16; i++) chance += CROCKFORD[Math.floor(dice() * 32)]
  return time + chance
}

/** Eight characters of base 36 that a site keeps for ever. */
export function newSiteId(dice: () => number): string {
  return Array.from({ length: 8 }, () => Math.floor(dice() * 36).toString(36)).join('')
}

/** The site that created a VM. */
export const siteIdOfVm = (vm: VmId): string => vm.slice(0, 8)
/** A short form for people: unique enough to type, accepted wherever an id is. */
export const short = (id: string): string => (id.length > 12 ? id.slice(-8) : id)
