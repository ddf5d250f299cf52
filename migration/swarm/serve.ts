/**
 * Serves chunks held here to downloaders, one session a channel.
 *
 * Promises: a chunk goes out as it lies on disk; at most SERVE_AHEAD_BYTES_MAX of frames are read for a channel before it
 * takes them, SERVE_READS_MAX at once for all; sessions take turns, so one that asks for much does not starve others.
 */
import { type Failure, failureOf } from '../../protocols/errors.ts'
import type { ChunkId, ImageId, PeerId } from '../../protocols/ids.ts'
import {
  HAVE_MORE_MS,
  INDEXES_MAX,
  REQUESTS_PER_SOURCE_MAX,
  SERVE_READS_MAX,
  SERVED_CHANNELS_MAX,
  SERVED_LISTS_MAX,
  SOURCES_MAX,
} from '../../protocols/limits.ts'
import {
  decode,
  encode,
  type Message,
  parts,
  PIECE_BYTES_MAX,
  pieceHead,
  PROTOCOL,
} from '../../protocols/swarm/messages.ts'
import type { Channel } from '../../protocols/transport.ts'
import type { Manifest } from '../../storage/images/manifest.ts'
import { BlockServer } from './block-serve.ts'
import { Seeder } from './seeder.ts'
import { Session } from './session.ts'
import type { SwarmPorts } from './swarm.ts'

export class Server {
  readonly #ports: SwarmPorts
  readonly #met: (peer: PeerId, image: ImageId, begins: boolean) => void
  /** In the order of their turns. */
  readonly #sessions: Session[] = []
  /** For images that are held whole and that are downloaded from here. */
  readonly #seeders = new Map<ImageId, Seeder>()
  readonly #blocks: BlockServer | undefined
  #reads = 0
  #news = false
  #stopped = false

  /** `met`: a peer begins to ask for an image, so it may soon be a source of it; or it ends. */
  constructor(ports: SwarmPorts, met: (peer: PeerId, image: ImageId, begins: boolean) => void) {
    this.#ports = ports
    this.#met = met
    this.#blocks = ports.blocks === undefined ? undefined : new BlockServer({ ...ports, ...ports.blocks })
    ports.transport.serve(PROTOCOL, { channel: (_, channel) => this.#open(channel) })
  }

  /** A chunk of an image came; those that download it from here are told within HAVE_MORE_MS. */
  gained(image: ImageId, index: number, id: ChunkId): void {
    let news = false
    for (const session of this.#sessions) if (session.gained(image, index, id)) news = true
    if (!news || this.#news) return
    this.#news = true
    this.#ports.clock.after(HAVE_MORE_MS, () => {
      this.#news = false
      for (const session of this.#sessions)
        for (const indexes of session.takeNews(INDEXES_MAX))
          session.outbox.send(encode({ kind: 'have-more', indexes }))
    })
  }

  /** Peers that ask for an image here now. */
  askers(image: ImageId): PeerId[] {
    return this.#sessions.flatMap((session) => (session.image === image ? session.channel.peer : []))
  }

  stop(): void {
    this.#stopped = true
    for (const session of this.#sessions.slice()) {
      session.channel.close()
      this.#close(session)
    }
  }

  #open(channel: Channel): void {
    if (this.#stopped || this.#sessions.length >= SERVED_CHANNELS_MAX) {
      channel.send(encode({ kind: 'bye', why: 'too many channels' }))
      return channel.close()
    }
    const session = new Session(channel, this.#ports, {
      drained: () => this.#turn(),
      whole: (whole, manifest) => this.#seed(whole, manifest),
    })
    this.#sessions.push(session)
    channel.onClose(() => this.#close(session))
    channel.onFrame((frame) => {
      if (session.closed) return
      try {
        this.#hear(session, frame)
      } catch (error) {
        this.#refuse(session, failureOf(error))
      }
    })
  }

  #close(session: Session): void {
    session.close()
    const at = this.#sessions.indexOf(session)
    if (at < 0) return
    this.#sessions.splice(at, 1)
    if (session.image !== undefined) this.#met(session.channel.peer, session.image, false)
    const seeder = this.#seederOf(session)
    seeder?.leave(session)
    if (seeder?.idle === true) this.#seeders.delete(session.image as ImageId)
  }

  /** All of an image is here: those that download it are shown what others have not been shown. */
  #seed(session: Session, manifest: Manifest): void {
    let seeder = this.#seeders.get(manifest.image)
    if (seeder === undefined) this.#seeders.set(manifest.image, (seeder = new Seeder(manifest, this.#ports)))
    seeder.join(session)
  }

  #seederOf({ image }: Session): Seeder | undefined {
    return image === undefined ? undefined : this.#seeders.get(image)
  }

  #refuse(session: Session, failure: Failure): void {
    const why = failure.code === 'FRAME_INVALID' ? `${failure.at} is not ${failure.expected}` : failure.code
    this.#ports.transport.blame(session.channel.peer, `swarm: ${why}`)
    session.channel.close()
    this.#close(session)
  }

  #hear(session: Session, frame: Uint8Array): void {
    const said = decode(frame)
    switch (said.kind) {
      case 'hello':
        // Before all else: from then on it asks.
        if (said.blocks === true && this.#blocks !== undefined)
          session.outbox.send(encode({ kind: 'blocks' }))
        if (!session.hello(said.image, said.manifest, said.gains === true, said.group))
          return this.#mistake(session, 'another image')
        this.#introduce(session, said.image)
        return this.#met(session.channel.peer, said.image, true)
      case 'groups':
        return session.groups(said.groups) ? undefined : this.#mistake(session, 'groups out of turn')
      case 'list':
        if (this.#sessions.filter((other) => other !== session && other.lists).length >= SERVED_LISTS_MAX) {
          session.outbox.send(encode({ kind: 'bye', why: 'too many lists' }))
          return session.channel.close()
        }
        return session.list(said.total, said.at, said.data)
          ? undefined
          : this.#mistake(session, 'a list out of order')
      case 'want':
        for (const index of said.indexes) session.wants.add(index)
        if (session.wants.size > 2 * REQUESTS_PER_SOURCE_MAX)
          return this.#mistake(session, 'too many requests')
        this.#seederOf(session)?.wanted(session, said.indexes)
        return this.#turn()
      case 'have':
        if (this.#seederOf(session)?.needsNot(session, said.total, said) !== true)
          this.#mistake(session, 'a map that was not asked for')
        return
      case 'have-more':
        return this.#seederOf(session)?.gained(session, said.indexes)
      case 'cancel':
        for (const index of said.indexes) session.wants.delete(index)
        return
      case 'sketch-of':
      case 'prints-of':
      case 'blocks-of': {
        const fault = this.#blocks === undefined ? 'blocks, unasked' : this.#blocks.hear(session, said)
        if (fault !== undefined) return this.#mistake(session, fault)
        // Chunks of which it asks for blocks are as good as asked for.
        if (said.kind === 'blocks-of') this.#seederOf(session)?.wanted(session, said.indexes)
        else this.#seederOf(session)?.byBlocks(session)
        return
      }
      case 'bye':
        return
      default:
        return this.#mistake(session, `a downloader that says ${(said as Message).kind}`)
    }
  }

  /** Those that fetch the same image from here learn of each other: what one has, another need not ask of us. */
  #introduce(session: Session, image: ImageId): void {
    if (session.introduced) return
    session.introduced = true
    const others = this.#sessions.filter((other) => other !== session && other.image === image)
    if (others.length === 0) return
    const newest = others.slice(-SOURCES_MAX).map(({ channel }) => channel.peer)
    session.outbox.send(encode({ kind: 'peers', peers: newest }))
    const news = encode({ kind: 'peers', peers: [session.channel.peer] })
    for (const other of others) other.outbox.send(news)
  }

  #mistake(session: Session, why: string): void {
    this.#refuse(session, { code: 'FRAME_INVALID', at: 'swarm', expected: `sensible: ${why}` })
  }

  /** Starts as many reads as there is room for, one a session and round. */
  #turn(): void {
    // Some at once, so that the index is asked for all of them at once.
    if (this.#reads > SERVE_READS_MAX / 2) return
    for (let idle = 0; idle < this.#sessions.length && this.#reads < SERVE_READS_MAX;) {
      const session = this.#sessions.shift() as Session
      this.#sessions.push(session)
      const index = session.next()
      if (index === undefined) idle++
      else {
        idle = 0
        this.#read(session, index)
      }
    }
  }

  #read(session: Session, index: number): void {
    const id = session.idAt(index)
    if (id === undefined) return session.outbox.send(encode({ kind: 'lack', index }))
    this.#reads++
    session.reads++
    this.#ports.chunks.read(id, (outcome) => {
      this.#reads--
      session.reads--
      if (!session.closed) {
        if (outcome.ok)
          for (const { at, data } of parts(outcome.value, PIECE_BYTES_MAX))
            session.outbox.send(pieceHead({ index, at, total: outcome.value.length }), data)
        // Missing, or the disk has changed it: somebody else may hold it.
        else {
          session.outbox.send(encode({ kind: 'lack', index }))
          this.#seederOf(session)?.lost(session, index)
        }
      }
      this.#turn()
    })
  }
}
