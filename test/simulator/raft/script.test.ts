import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import test from 'ava'
import { type Command, runScript } from '../../../simulator/raft/script/data-driven.ts'
import { runRaftScript } from '../../../simulator/raft/script/run.ts'

const folder = join(import.meta.dirname, '../../fixtures/raft-scripts')

/** The scenarios that etcd's raft has a script for, suite by suite; and our own. */
const NAMES = {
  interaction: `async_storage_writes async_storage_writes_append_aba_race campaign campaign_learner_must_vote
    checkquorum confchange_disable_validation confchange_v1_add_single confchange_v1_remove_leader
    confchange_v1_remove_leader_stepdown confchange_v2_add_double_auto confchange_v2_add_double_implicit
    confchange_v2_add_single_auto confchange_v2_add_single_explicit confchange_v2_replace_leader
    confchange_v2_replace_leader_stepdown forget_leader forget_leader_prevote_checkquorum
    forget_leader_read_only_lease_based heartbeat_resp_recovers_from_probing lagging_commit prevote
    prevote_checkquorum probe_and_replicate replicate_pause single_node slow_follower_after_compaction
    snapshot_succeed_via_app_resp snapshot_succeed_via_app_resp_behind`,
  confchange: `joint_autoleave joint_idempotency joint_learners_next joint_safety simple_idempotency
    simple_promote_demote simple_safety update zero`,
  quorum: 'joint_commit joint_vote majority_commit majority_vote',
  // None of etcd's: where random scripts, run by etcd's own test too, were printed differently once.
  found: `answers_in_the_order_said async_acknowledges_each_append async_confchange async_prevote forwarded
    forwarded_twice joint_hand_over small_words`,
}

for (const [suite, names] of Object.entries(NAMES)) {
  test(`${suite}: there is a script for each scenario`, (t) => {
    const files = globSync('*.txt', { cwd: join(folder, suite) })
    t.deepEqual(files.map((file) => basename(file, '.txt')).sort(), names.split(/\s+/).sort())
  })

  for (const name of names.split(/\s+/)) {
    test(`${suite}: ${name}`, (t) => {
      const text = readFileSync(join(folder, suite, `${name}.txt`), 'utf8')
      const { steps, text: printed } = runRaftScript(text)
      for (const { command, expected, actual } of steps) {
        t.is(actual, expected, `line ${command.line}: ${command.name}`)
      }
      t.is(printed, text)
    })
  }
}

/** What the commands of a script are read as. */
function commandsOf(text: string): Command[] {
  const commands: Command[] = []
  runScript(text, (command) => {
    commands.push(command)
    return 'ok'
  })
  return commands
}

test('a command has arguments with none, one or several values, and input', (t) => {
  const text = '# why\n\ndo 1 "a" b=c d=(e, f,g) \\\n  h=\nmore\n\nand more\n----\nok\n'
  t.deepEqual(commandsOf(text), [
    {
      name: 'do',
      arguments: [
        { key: '1', values: [] },
        { key: '"a"', values: [] },
        { key: 'b', values: ['c'] },
        { key: 'd', values: ['e', 'f', 'g'] },
        { key: 'h', values: [] },
      ],
      input: 'more\n\nand more',
      line: 3,
    },
  ])
})

test('a script is printed again with what its commands printed now', (t) => {
  const cases: [what: string, script: string, printed: string, again: string][] = [
    ['same', 'a\n----\nx\n', 'x\n', 'a\n----\nx\n'],
    ['no line end', 'a\n----\nx\n', 'x', 'a\n----\nx\n'],
    ['other', 'a\n----\nx\n\n\nb\n----\ny\n', 'z', 'a\n----\nz\n\n\nb\n----\nz\n'],
    ['nothing expected', 'a\n----\n\nb\n----\n', 'z', 'a\n----\nz\n\nb\n----\nz\n'],
    ['blank lines', 'a\n----\nx\n', 'x\n\ny\n', 'a\n----\n----\nx\n\ny\n----\n----\n'],
    [
      'doubled',
      'a\n----\n----\nx\n\n----\n----\n\n# b\n',
      'x\n\n',
      'a\n----\n----\nx\n\n----\n----\n\n# b\n',
    ],
    ['nothing printed', 'a\n----\nx\n\nb\n----\n', '', 'a\n----\n\nb\n----\n'],
  ]
  for (const [what, script, printed, again] of cases) {
    t.is(runScript(script, () => printed).text, again, what)
  }
})

test('what was expected is compared to the byte', (t) => {
  const { steps } = runScript('a\n----\nx \n\nb\n----\n----\n\nx\n----\n----\n', () => 'x')
  t.deepEqual(
    steps.map(({ expected, actual }) => [expected, actual]),
    [
      ['x \n', 'x\n'],
      ['\nx\n', 'x\n'],
    ],
  )
})

test('a line that cannot be read is named', (t) => {
  t.throws(() => commandsOf('fine\n----\n\na=(b\n----\n'), { message: 'line 4: cannot read "a=(b"' })
})

test('a command that is not one says so, and the script goes on', (t) => {
  const { steps } = runRaftScript(
    'fly 1\n----\n\nsimple\nq1\n----\n\ncampaign 1\n----\n\ncommitted cfg=x\n----\n',
  )
  t.deepEqual(
    steps.map(({ actual }) => actual),
    [
      'unknown command\n',
      'unknown input: q1\n',
      'there is no node 1\n',
      'strconv.ParseUint: parsing "x": invalid syntax\n',
    ],
  )
})
