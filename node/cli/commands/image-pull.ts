/** Bringing an image here from whoever in the mesh has it, and who that is. */
import type { LocationView, PlanView } from '../../views.ts'
import type { Command } from '../command.ts'
import { DRY_RUN } from '../confirm.ts'
import { parseRate } from '../../../protocols/rate/schedule.ts'
import { usage } from '../failures.ts'
import type { Session } from '../session.ts'
import { DETACH, JOB_TIMEOUT, start } from './job.ts'

const IMAGE = {
  name: 'image',
  summary: 'name, site/name or id of the image, as any site knows it',
  complete: 'image',
} as const
const FROM = {
  flags: '--from <peers>',
  summary: 'the only peers to fetch it from, separated by commas; else whoever has it',
  complete: 'peer',
} as const

const BWLIMIT = {
  flags: '--bwlimit <rate>',
  summary: 'take in no more than this, as 40Mbit or 5MB, from all peers together',
} as const

export const IMAGE_PULL: Command = {
  name: 'image pull',
  summary: 'Bring an image to this peer from whoever in the mesh holds its chunks',
  about:
    'Chunks that are held here, of whatever image, are not fetched; those that a peer of this site holds come from it. It is ' +
    'named at this site, as it is at the other unless --as says otherwise. What came stays when it is interrupted: the same ' +
    'command goes on from there.',
  arguments: [IMAGE],
  options: [
    FROM,
    BWLIMIT,
    { flags: '--as <name>', summary: 'what to call it at this site' },
    DRY_RUN,
    DETACH,
  ],
  examples: [
    ['image pull debian-12', 'by its name at this or any other site'],
    ['image pull harbour/debian-12 --as debian', 'of one site, and called otherwise here'],
    [
      'image pull debian-12 --dry-run',
      'what would cross which link, by whole chunks; where blocks of other images help it is less',
    ],
    ['image pull debian-12 --bwlimit 40Mbit', 'leaving the rest of the line to others'],
    ['image pull debian-12 --from crane,heron --detach', 'from these two only; prints the id of the job'],
  ],
  timeout: JOB_TIMEOUT,
  run: (session) => {
    const params = { name: session.word('image'), from: listed(session.text('from')) }
    if (session.has('dryRun')) return plan(session, params)
    const typed = session.text('bwlimit')
    const bwlimit = typed === undefined ? undefined : rateOf(typed)
    return start(session, 'image.pull', { ...params, as: session.text('as') ?? '', bwlimit })
  },
}

const rateOf = (typed: string): number =>
  parseRate(typed) ??
  usage(`--bwlimit: ${typed} is no rate of at least 64kbit`, 'as in 40Mbit, 5MB or 4.5MiB')

/** How many bytes would cross which link. */
async function plan(session: Session, params: object): Promise<number> {
  const answered = await session.ask('image.plan', params, PLAN_MS)
  await session.show('image-plan', answered)
  const { nowhere, silent, unable } = answered.value as PlanView
  const unheard = [...silent, ...unable]
  if (unheard.length > 0) session.note(`warning: not counted is what ${unheard.join(', ')} may hold`)
  if (nowhere === 0) return 0
  session.note(`warning: nobody in sight holds ${nowhere} of its chunks: a pull would wait for them in vain`)
  return PARTIAL
}

/** A terabyte that a far peer holds. */
const PLAN_MS = 60_000

const listed = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')

export const IMAGE_LOCATIONS: Command = {
  name: 'image locations',
  summary: 'Show which peers hold an image, or chunks of it',
  about:
    'All peers are asked at once and have 2 s. Who does not answer is shown as last known, with the age of that; the exit ' +
    'status is 7 then.',
  arguments: [IMAGE],
  examples: [
    ['image locations debian-12', 'who holds all or part of it, near ones first'],
    ['image locations debian-12 -o json', 'with exact counts of chunks and bytes'],
  ],
  timeout: '15s',
  run: async (session) => {
    const answered = await session.ask('image.locations', { name: session.word('image') })
    await session.show('image-location', answered)
    const silent = (answered.value as LocationView[]).filter(({ why }) => why !== '')
    if (silent.length === 0) return 0
    session.note(`warning: not known just now of ${silent.map(({ peer }) => peer).join(', ')}`)
    return PARTIAL
  },
}

/** Some of what was asked for is not there. */
const PARTIAL = 7
