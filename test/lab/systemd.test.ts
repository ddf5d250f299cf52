/**
 * The peer under its unit and a real systemd. The run is a command of its own (systemd.ts), because it must also be seen
 * by somebody who asks for it: there, what is missing is an error; here it is said, and the test stands as skipped.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import test from 'ava'
import { missingForSystemd } from './systemd-machine.ts'

const missing = missingForSystemd()
if (missing.length > 0) console.warn(`lab: the test under systemd skipped; missing: ${missing.join('; ')}`)
const withSystemd = missing.length > 0 ? test.skip : test

withSystemd('a restart, a crash and a stop of the service leave its guest running', async (t) => {
  // Fifteen seconds on an idle machine; each of its steps has a deadline of its own.
  t.timeout(300_000)
  const script = join(import.meta.dirname, 'systemd.ts')
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGTERM'))
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [code] = (await once(child, 'close')) as [number | null]
  t.log(said)
  t.is(code, 0)
  t.regex(said, /every life of the peer found its guest/)
})
