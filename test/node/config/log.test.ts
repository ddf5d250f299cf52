import test from 'ava'
import { openLog } from '../../../node/log.ts'

test('a line is JSON with its level, and no secret', (t) => {
  const lines: string[] = []
  const log = openLog('info', false, (line) => void lines.push(line))
  log.info({ token: 'gdw1-SECRET', hello: { secret: 'SECRET' }, vm: 'web' }, 'told')
  log.debug({}, 'not said at this level')
  t.is(lines.length, 1)
  t.notRegex(lines.join(''), /SECRET/)
  t.like(JSON.parse(lines[0] ?? ''), { level: 'info', vm: 'web', msg: 'told', token: '[redacted]' })
})

test('under journald a line begins with its priority', (t) => {
  const lines: string[] = []
  const log = openLog('debug', true, (line) => void lines.push(line))
  log.debug({}, 'a')
  log.info({}, 'a')
  log.warn({}, 'a')
  log.error({}, 'a')
  t.deepEqual(
    lines.map((line) => line.slice(0, 4)),
    ['<7>{', '<6>{', '<4>{', '<3>{'],
  )
})
