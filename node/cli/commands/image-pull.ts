/** Bringing an image here, from whoever in the mesh has it. */
import type { Command } from '../command.ts'
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

export const IMAGE_PULL: Command = {
  name: 'image pull',
  summary: 'Bring an image to this peer from whoever in the mesh holds its chunks',
  about:
    'Chunks that are held here, of whatever image, are not fetched; those that a peer of this site holds come from it. It is ' +
    'named at this site, as it is at the other unless --as says otherwise. What came stays when it is interrupted: the same ' +
    'command goes on from there.',
  arguments: [IMAGE],
  options: [FROM, { flags: '--as <name>', summary: 'what to call it at this site' }, DETACH],
  examples: [
    ['image pull debian-12', 'by its name at this or any other site'],
    ['image pull harbour/debian-12 --as debian', 'of one site, and called otherwise here'],
    ['image pull debian-12 --from crane,heron --detach', 'from these two only; prints the id of the job'],
  ],
  timeout: JOB_TIMEOUT,
  run: (session) =>
    start(session, 'image.pull', {
      name: session.word('image'),
      from: listed(session.text('from')),
      as: session.text('as') ?? '',
    }),
}

const listed = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
