/** What of images stays on a peer: pins, and taking off it what nothing there refers to. */
import type { PinView, PruneItem } from '../../views.ts'
import type { Command } from '../command.ts'
import { confirmed, DRY_RUN, YES } from '../confirm.ts'
import { humanBytes } from '../human.ts'
import type { Session } from '../session.ts'

const IMAGE = { name: 'image', summary: 'name or id of the image', complete: 'image' } as const
const PEER = {
  flags: '--peer <peer>',
  summary: 'the peer to do it on; the one that is asked otherwise',
  complete: 'peer',
} as const

export const IMAGE_PIN_COMMANDS: readonly Command[] = [
  {
    name: 'image pin',
    summary: 'Keep what a peer holds of an image, whether anything there refers to it or not',
    about: 'It fetches nothing: what is missing is said. A pin lasts until image unpin, across restarts.',
    arguments: [IMAGE],
    options: [PEER],
    examples: [
      ['image pin debian-12', 'prune and the need of room leave it here'],
      ['image pin debian-12 --peer heron', 'the same on another peer'],
    ],
    timeout: '30s',
    run: (session) => pin(session, false),
  },
  {
    name: 'image unpin',
    summary: 'End a pin',
    about: 'Nothing goes by that: image prune takes what nothing refers to.',
    arguments: [IMAGE],
    options: [PEER],
    examples: [['image unpin debian-12', 'it may go from this peer again']],
    timeout: '30s',
    run: (session) => pin(session, true),
  },
  {
    name: 'image kept',
    summary: 'List the kept copies of VMs that have moved away from this peer',
    about:
      'They count in store.quota. When room is needed they go, the oldest first, but only while another peer holds what they ' +
      'are the same as.',
    examples: [['image kept', 'since when each is kept, what it takes, and who else has it']],
    lists: true,
    timeout: '30s',
    method: 'image.kept',
  },
  {
    name: 'image prune',
    summary: 'Take off this peer the images that nothing on it refers to, and all chunks that no image names',
    about:
      'What VMs, moves, jobs, kept copies and pins refer to stays. An image that the site has named, or that a VM of it ' +
      'starts from, goes only while another peer says that it holds all of it.',
    options: [
      { flags: '--force', summary: 'also the only known copy of an image of the site; nothing else' },
      YES,
      DRY_RUN,
    ],
    examples: [
      ['image prune --dry-run', 'what would go, what stays and why, and the room that comes back'],
      ['image prune --yes', 'without a question'],
    ],
    timeout: '2h',
    run: prune,
  },
]

async function pin(session: Session, undo: boolean): Promise<number> {
  const peer = session.text('peer')
  const params = { name: session.word('image'), undo, ...(peer !== undefined && { peer }) }
  const answered = await session.ask('image.pin', params)
  await session.show('image-pin', answered)
  const { missing, chunks, peer: where } = answered.value as PinView
  if (!undo && missing > 0)
    session.note(`warning: ${where} lacks ${missing} of its ${chunks} chunks; a pin fetches nothing`)
  return 0
}

async function prune(session: Session): Promise<number> {
  const params = { force: session.has('force') }
  const planned = await session.ask('image.prune', { ...params, dryRun: true })
  const plan = planned.value as PruneItem[]
  if (session.has('dryRun')) {
    await session.show('prune-item', planned)
    session.note(`${room(plan)} would come back`)
    return 0
  }
  if (!plan.some(({ drops }) => drops)) {
    await session.show('prune-item', planned)
    session.note('nothing goes')
    return 0
  }
  const images = plan.filter(({ kind, drops }) => kind === 'image' && drops)
  const named = images.slice(0, NAMED_MAX).map(({ name, id }) => name || id.slice(0, 12))
  const more = images.length > NAMED_MAX ? ` and ${images.length - NAMED_MAX} more` : ''
  const what = images.length === 0 ? 'chunks that no image names' : `${named.join(', ')}${more}`
  const question = `Take ${what} off this peer? ${room(plan)} comes back.`
  if (!(await confirmed(session, 'image prune', question))) return 1
  const done = await session.ask('image.prune', { ...params, dryRun: false })
  await session.show('prune-item', done)
  session.note(`${room(done.value as PruneItem[])} came back`)
  return 0
}

/** Images that a question names. */
const NAMED_MAX = 8

const room = (items: readonly PruneItem[]): string =>
  humanBytes(items.find(({ kind }) => kind === 'chunks')?.bytes ?? 0)
