/** Jobs: long actions, wherever they run. */
import type { Command } from '../command.ts'
import { confirmed, YES } from '../confirm.ts'
import { follow, summary } from '../follow.ts'
import type { Session } from '../session.ts'

const JOB = { name: 'job', summary: 'id of the job, or its unique beginning', complete: 'job' } as const

export const DETACH = { flags: '--detach', summary: 'print the id of the job and do not wait for it' }
const FORCE = {
  flags: '--force',
  summary: 'also a move whose destination may have taken the VM and is gone for good: unsafe',
} as const
/** A disk over a slow link takes days; who waits longer than this has gone home. */
export const JOB_TIMEOUT = '24h'

export const JOB_COMMANDS: readonly Command[] = [
  {
    name: 'job list',
    aliases: ['ls'],
    summary: 'List jobs of this site, the newest first',
    examples: [
      ['job list', 'all that are remembered'],
      ['job list --filter state=running', 'those that are not over'],
    ],
    lists: true,
    timeout: '10s',
    method: 'job.list',
  },
  {
    name: 'job show',
    summary: 'Show one job',
    arguments: [JOB],
    examples: [['job show 01JD000000000000000000JOB1', 'its phase and its figures']],
    timeout: '10s',
    method: 'job.show',
    params: ({ job }) => ({ name: job }),
  },
  {
    name: 'job watch',
    summary: 'Show how a job goes, until it ends',
    arguments: [JOB],
    examples: [['job watch 01JD000000000000000000JOB1', 'ends as the job ends']],
    timeout: JOB_TIMEOUT,
    run: (session) => finish(session, session.word('job')),
  },
  {
    name: 'job cancel',
    summary: 'Cancel a job; what it began is undone',
    arguments: [JOB],
    options: [FORCE, YES],
    examples: [
      ['job cancel 01JD000000000000000000JOB1', 'a move leaves the VM where it was'],
      ['job cancel 01JD000000000000000000JOB1 --force --yes', 'its destination is gone for good'],
    ],
    timeout: '10s',
    about:
      'A move that began before its group was recovered is not cancelled while its destination may have taken the VM ' +
      '(phase uncertain). With --force it is, on your word that this host never runs again: if it does, the VM runs twice until ' +
      'the two see each other. It is noted as unsafe in the log that owns the VM.',
    run: (session) => cancel(session, session.word('job')),
  },
]

async function cancel(session: Session, job: string): Promise<number> {
  const force = session.has('force')
  const question = `Is the destination of job ${job} gone for good? If it ever runs again, the VM may run twice.`
  if (force && !(await confirmed(session, `job cancel ${job} --force`, question))) return 1
  await session.show('job', await session.ask('job.cancel', { name: job, ...(force && { force }) }))
  return 0
}

/** Starts a job by `method` and waits for its end, or prints its id with --detach. */
export async function start(session: Session, method: string, params: object): Promise<number> {
  const answered = await session.ask(method, params, Math.min(session.timeoutMs, START_MS))
  const { job } = answered.value as { job: string }
  if (!session.has('detach')) return finish(session, job)
  if (session.output.format === 'table' || session.output.format === 'wide') session.io.out(`${job}\n`)
  else await session.show('job-started', answered)
  return 0
}

/** What must be agreed on before a job exists. */
const START_MS = 30_000

async function finish(session: Session, id: string): Promise<number> {
  const end = await follow(session, id)
  if ('exit' in end) return end.exit
  const { format } = session.output
  if (format === 'table' || format === 'wide') session.io.out(summary(end.job))
  else await session.showItem('job', end.job)
  return 0
}
