/**
 * The downloader's end of one channel: from messages to what was heard, with indexes of the image, whatever the channel's
 * own indexes stand for. What a peer says out of turn ends the conversation, with the reason.
 */
import { failureOf } from '../../protocols/errors.ts'
import type { ImageId, PeerId } from '../../protocols/ids.ts'
import { SWARM_PART_BYTES } from '../../protocols/limits.ts'
import type { BlockAnswer, BlockRequest } from '../../protocols/swarm/block-messages.ts'
import { decodeSection, isSet, type Section } from '../../protocols/swarm/have-map.ts'
import { decode, encode, type Message, parts, type Piece } from '../../protocols/swarm/messages.ts'
import type { Channel } from '../../protocols/transport.ts'
import { HASH_BYTES } from '../../storage/images/manifest.ts'
import { Outbox } from './outbox.ts'

export type ManifestHeard =
  | {
      readonly kind: 'tree'
      readonly bytes: number
      readonly chunkBytes: number
      readonly tops: Uint8Array
    }
  /** A part of a group, of which more is to come. */
  | { readonly kind: 'group-part' }
  | { readonly kind: 'group'; readonly group: number; readonly encoded: Uint8Array }
  /** Of all of it in one stream, in order. */
  | {
      readonly kind: 'manifest-part'
      readonly total: number
      readonly at: number
      readonly data: Uint8Array
    }

export type Heard =
  | ManifestHeard
  /** It never saw the manifest: `list` names chunks to it. */
  | { readonly kind: 'unknown' }
  | {
      readonly kind: 'have'
      readonly total: number
      readonly from: number
      readonly count: number
      readonly bits: Uint8Array
      /** It wants to know what is not needed, and what is gained. */
      readonly gains: boolean
    }
  | { readonly kind: 'have-more'; readonly indexes: readonly number[] }
  | { readonly kind: 'peers'; readonly peers: readonly PeerId[] }
  | { readonly kind: 'piece'; readonly index: number; readonly frame: Uint8Array }
  | { readonly kind: 'lack'; readonly index: number }
  /** It speaks of blocks; what it says of them. */
  | { readonly kind: 'blocks'; readonly said: BlockAnswer }
  | { readonly kind: 'bad'; readonly why: string }
  | { readonly kind: 'closed' }

export class Conversation {
  readonly peer: PeerId
  closed = false
  readonly #channel: Channel
  readonly #hear: (heard: Heard) => void
  readonly #outbox: Outbox
  /** Of the channel's indexes: the image's, and back; undefined while they are the same. */
  #listed: readonly number[] | undefined
  #places: Map<number, number> | undefined
  /** Bytes of the manifest as a stream that came. */
  #manifestBytes = 0
  #group: { group: number; total: number; bytes: number; parts: Uint8Array[] } | undefined
  #piece: { index: number; total: number; bytes: number; parts: Uint8Array[] } | undefined

  constructor(channel: Channel, hear: (heard: Heard) => void) {
    this.peer = channel.peer
    this.#channel = channel
    this.#hear = hear
    this.#outbox = new Outbox(channel)
    channel.onClose(() => this.#end({ kind: 'closed' }))
    channel.onFrame((frame) => {
      if (this.closed) return
      try {
        const said = decode(frame)
        const heard = this.#understand(said)
        if (heard !== undefined) this.#hear(heard)
      } catch (error) {
        const failure = failureOf(error)
        this.#bad(
          failure.code === 'FRAME_INVALID' ? `${failure.at} is not ${failure.expected}` : failure.code,
        )
      }
    })
  }

  /** `group`: of the manifest, this one first; undefined: nothing of it. `blocks`: this peer speaks of blocks. */
  hello(image: ImageId, blocks: boolean, group?: number): void {
    const manifest = group !== undefined
    const more = { ...(manifest && { group }), ...(blocks && { blocks }) }
    this.#outbox.send(encode({ kind: 'hello', image, manifest, gains: true, ...more }))
  }

  ask(request: BlockRequest): void {
    this.#outbox.send(encode(request))
  }

  /** Asks for more groups of a manifest. */
  groups(groups: readonly number[]): void {
    this.#outbox.send(encode({ kind: 'groups', groups: [...groups] }))
  }

  /** Names chunks to a source without the manifest: their indexes in the image, and their hashes in the same order. */
  list(indexes: readonly number[], hashes: Uint8Array): void {
    this.#listed = indexes
    this.#places = new Map(indexes.map((index, place) => [index, place]))
    this.#outbox.stream(listFrames(hashes))
  }

  needsNot(total: number, section: Section): void {
    this.#outbox.send(encode({ kind: 'have', total, ...section }))
  }

  gained(indexes: readonly number[]): void {
    this.#outbox.send(encode({ kind: 'have-more', indexes: [...indexes] }))
  }

  want(indexes: readonly number[]): void {
    this.#outbox.send(encode({ kind: 'want', indexes: this.#toChannel(indexes) }))
  }

  cancel(indexes: readonly number[]): void {
    this.#outbox.send(encode({ kind: 'cancel', indexes: this.#toChannel(indexes) }))
  }

  wireBytes(): number {
    return this.#channel.sentBytes() + this.#channel.receivedBytes()
  }

  /** Nothing is heard after this. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.#channel.close()
  }

  #end(heard: Heard): void {
    if (this.closed) return
    this.closed = true
    this.#hear(heard)
  }

  #bad(why: string): void {
    this.#channel.close()
    this.#end({ kind: 'bad', why })
  }

  #understand(said: Message | Piece): Heard | undefined {
    switch (said.kind) {
      case 'unknown':
      case 'peers':
        return said
      case 'tree':
        return said
      case 'group':
        return this.#groupPart(said)
      case 'manifest':
        if (said.at !== this.#manifestBytes || said.at + said.data.length > said.total)
          return this.#refuse('a manifest out of order')
        this.#manifestBytes += said.data.length
        // Asked for again, it comes again.
        if (this.#manifestBytes === said.total) this.#manifestBytes = 0
        return { kind: 'manifest-part', total: said.total, at: said.at, data: said.data }
      case 'have': {
        const { total, from, count, gains = false } = said
        if (from + count > total) return this.#refuse('a section past its end')
        const bits = decodeSection(said)
        if (this.#listed === undefined) return { kind: 'have', total, from, count, bits, gains }
        if (total !== this.#listed.length) return this.#refuse('a map of another list')
        const places: number[] = []
        for (let i = 0; i < count; i++) if (isSet(bits, i)) places.push(from + i)
        return { kind: 'have-more', indexes: this.#toImage(places) }
      }
      case 'have-more':
        return { kind: 'have-more', indexes: this.#toImage(said.indexes) }
      case 'piece':
        return this.#piecePart(said)
      case 'lack':
        return { kind: 'lack', index: this.#toImage([said.index])[0] ?? said.index }
      case 'blocks':
      case 'sketch':
      case 'prints':
      case 'delta':
      case 'plain':
        // A channel about a list has no image that blocks could be of.
        return this.#listed === undefined ? { kind: 'blocks', said } : this.#refuse('blocks of a list')
      case 'bye':
        this.close()
        return { kind: 'closed' }
      default:
        return this.#refuse(`a source that says ${said.kind}`)
    }
  }

  #groupPart({ group, total, at, data }: Extract<Message, { kind: 'group' }>): Heard | undefined {
    if (at === 0) this.#group = { group, total, bytes: 0, parts: [] }
    const whole = this.#group
    if (whole === undefined || whole.group !== group || whole.total !== total || whole.bytes !== at)
      return this.#refuse('a group out of order')
    whole.parts.push(data)
    whole.bytes += data.length
    if (whole.bytes < total) return { kind: 'group-part' }
    this.#group = undefined
    if (whole.bytes > total) return this.#refuse('a group past its end')
    return { kind: 'group', group, encoded: Buffer.concat(whole.parts) }
  }

  #piecePart({ index, at, total, data }: Piece): Heard | undefined {
    const whole = (frame: Uint8Array): Heard => ({
      kind: 'piece',
      index: this.#toImage([index])[0] ?? index,
      frame,
    })
    if (at === 0 && data.length === total) return whole(data)
    if (at === 0) this.#piece = { index, total, bytes: 0, parts: [] }
    const piece = this.#piece
    if (piece === undefined || piece.index !== index || piece.total !== total || piece.bytes !== at)
      return this.#refuse('a piece out of order')
    piece.parts.push(data)
    piece.bytes += data.length
    if (piece.bytes < total) return undefined
    this.#piece = undefined
    return whole(Buffer.concat(piece.parts))
  }

  #refuse(why: string): undefined {
    this.#bad(why)
  }

  #toImage(indexes: readonly number[]): readonly number[] {
    const listed = this.#listed
    return listed === undefined ? indexes : indexes.flatMap((place) => listed[place] ?? [])
  }

  #toChannel(indexes: readonly number[]): number[] {
    const places = this.#places
    return places === undefined ? [...indexes] : indexes.flatMap((index) => places.get(index) ?? [])
  }
}

function* listFrames(hashes: Uint8Array): Generator<Uint8Array> {
  const chunks = Math.floor(SWARM_PART_BYTES / HASH_BYTES) * HASH_BYTES
  for (const { at, data } of parts(hashes, chunks))
    yield encode({ kind: 'list', total: hashes.length, at, data })
}
