/** A qemu-nbd of a test's own. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** Returns the socket it listens on, in `folder`; it ends with the test. */
export function serve(t: ExecutionContext, folder: string, args: readonly string[]): string {
  const [socketPath, pidFile] = [join(folder, 'served'), join(folder, 'served.pid')]
  const always = ['--fork', `--pid-file=${pidFile}`, '--persistent', `--socket=${socketPath}`]
  execFileSync('qemu-nbd', [...always, ...args], { stdio: 'ignore' })
  const pid = Number(readFileSync(pidFile, 'utf8'))
  t.teardown(() => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // A test may have ended it.
    }
  })
  return socketPath
}
