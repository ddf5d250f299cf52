/** Magnet links (BEP 9): which torrent, and where to begin to look for it. What a link says besides is not followed. */
import { GodwitError } from '../../protocols/errors.ts'
import { TORRENT_PEERS_NAMED_MAX, TRACKERS_MAX } from '../../protocols/limits.ts'
import { isTracker } from './metainfo.ts'

export type Magnet = {
  /** 40 hex digits. */
  readonly infoHash: string
  /** For people; empty when the link has none. */
  readonly name: string
  readonly trackers: readonly string[]
  /** `address:port`. */
  readonly peers: readonly string[]
}

export const isMagnet = (text: string): boolean => /^magnet:/i.test(text)

/** @throws GodwitError IMAGE_INVALID. */
export function parseMagnet(link: string): Magnet {
  const fail = (why: string): never => {
    throw new GodwitError({ code: 'IMAGE_INVALID', path: 'the magnet link', why })
  }
  const asked = URL.parse(link)?.searchParams
  if (!isMagnet(link) || asked === undefined) return fail('it is none')
  const topics = asked.getAll('xt')
  const [infoHash] = topics.flatMap((topic) => hashOf(topic) ?? [])
  if (infoHash === undefined)
    return fail(
      topics.some((topic) => topic.startsWith('urn:btmh:'))
        ? 'it names a torrent of version 2; version 1 (urn:btih:) is read'
        : 'it names no torrent (xt=urn:btih:...)',
    )
  return {
    infoHash,
    name: (asked.get('dn') ?? '').slice(0, 255),
    trackers: [...new Set(asked.getAll('tr'))].filter(isTracker).slice(0, TRACKERS_MAX),
    peers: [...new Set(asked.getAll('x.pe'))].filter(isPeerAddress).slice(0, TORRENT_PEERS_NAMED_MAX),
  }
}

function hashOf(topic: string): string | undefined {
  const [, found = ''] = /^urn:btih:([A-Za-z0-9]+)$/.exec(topic) ?? []
  if (/^[0-9a-f]{40}$/i.test(found)) return found.toLowerCase()
  return /^[A-Z2-7]{32}$/i.test(found) ? fromBase32(found.toUpperCase()) : undefined
}

/** RFC 4648: 32 characters are 20 bytes, without a rest. */
function fromBase32(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  const bits = Array.from(text, (character) => alphabet.indexOf(character).toString(2).padStart(5, '0')).join(
    '',
  )
  return (bits.match(/.{4}/g) ?? []).map((four) => Number.parseInt(four, 2).toString(16)).join('')
}

/** An address and a port, as `192.0.2.1:6881` or `[2001:db8::1]:6881`: no names, nothing is looked up. */
export function isPeerAddress(text: string): boolean {
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+):([0-9]{1,5})$/.exec(text) ?? []
  return Number(port) >= 1 && Number(port) <= 65_535 && URL.canParse(`http://${text}`)
}
