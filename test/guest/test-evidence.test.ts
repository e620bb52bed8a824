import { expect, test } from 'vitest'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { type ProjectRun, runVitest } from '../support/vitest-project.js'

/** The names of the files that were kept of each guest, by the folder of its test without what differs from run to run. */
function keptFiles(run: ProjectRun, folder = 'test-results/withvm'): Record<string, string[]> {
  const kept: Record<string, string[]> = {}
  for (const path of run.list(folder)) {
    const [guest = '', test = ''] = path.split('/').slice(-3, -1).reverse()
    const name = `${test.replace(/-[0-9a-f]{6}(?=$|-retry)/, '')}/${guest.replace(/-[0-9a-f]{8}$/, '')}`
    kept[name] = [...(kept[name] ?? []), path.slice(path.lastIndexOf('/') + 1)].sort()
  }
  return kept
}

const FILES = ['command-line.txt', 'commands.log', 'guest.txt', 'qemu.log', 'qmp.log', 'serial.log']
const ANSWERED = [...FILES, 'dmesg.txt'].sort()

test('a test that fails has the logs of its guests attached, in every reporter', async () => {
  const source = `
    test('fails', async ({ vm, launch }) => {
      await launch({ name: 'other' })
      expect((await vm.ssh\`echo wrong\`).stdout).toBe('right')
    })
    test('passes', async ({ vm }) => { await vm.ssh\`true\` })
    test.fails('is meant to fail', async ({ vm }) => { await vm.ssh\`false\` })
    test.fails('is skipped', async ({ vm, skip }) => { skip(vm.isRunning) })
    test('has seen a start fail', async ({ launch }) => {
      await expect(launch({ boot: 'c' })).rejects.toThrow('nothing to boot')
    })`
  const reporters = ['default', 'junit', 'json', 'github-actions', 'tap']
  const run = await runVitest(ownTmpdir(), source, {
    args: [
      ...reporters.map((name) => `--reporter=${name}`),
      '--outputFile.junit=junit.xml',
      '--outputFile.json=results.json',
    ],
  })
  expect(run.output).toContain('Tests  1 failed | 2 passed | 1 expected fail | 1 skipped (5)')
  expect(keptFiles(run)).toEqual({ 'some-test-fails/tiny': ANSWERED, 'some-test-fails/other': ANSWERED })
  const evidence = /test-results\/withvm\/some-test-fails-[0-9a-f]{6}/
  // The terminal, and TAP below it.
  expect(run.output).toMatch(new RegExp(`AssertionError: .*\\n\\nEvidence: ${evidence.source}\\n`))
  expect(run.output).toMatch(new RegExp(`↳ evidence: ${evidence.source}\\n( +↳ .*\\n)+`))
  expect(run.output).toMatch(/↳ tiny-[0-9a-f]{8}\/serial\.log\n/)
  expect(run.output).toMatch(new RegExp(`# notice: evidence: ${evidence.source}\\n`))
  expect(run.output).toMatch(new RegExp(`::error file=\\S+some\\.test\\.ts,.*Evidence: ${evidence.source}`))
  expect(run.read('junit.xml')).toMatch(/<property name="notice" value="tiny-[0-9a-f]{8}\/commands\.log">/)
  const { testResults } = JSON.parse(run.read('results.json'))
  const [failed, passed] = testResults[0].assertionResults
  expect(failed.failureMessages[0]).toMatch(evidence)
  expect(failed.meta.withvmEvidence).toHaveLength(2 * ANSWERED.length)
  expect(failed.meta.withvmEvidence).toContainEqual(expect.stringMatching(/tiny-[0-9a-f]{8}\/dmesg\.txt$/))
  expect(passed.meta).toEqual({})
  // Vitest's own copies, for its HTML report.
  expect(run.list('.vitest-attachments')).toContainEqual(expect.stringMatching(/serial-log-[0-9a-f]+\.log$/))
})

test('a start that fails, a panic and a test that is out of time leave evidence too, and soon', async () => {
  const source = `
    test('does not start', async ({ launch }) => { await launch({ boot: 'c' }) })
    test('panics', async ({ vm }) => { await vm.ssh\`echo c >/proc/sysrq-trigger; sleep 60\` })
    test('loses its QEMU', async ({ vm }) => {
      process.kill(vm.pid, 'SIGKILL')
      await vm.ssh\`true\`
    })
    test.describe('in vain', () => {
      test.override({ vmOptions: { artifacts: 'vitest.config.mjs' } })
      test('cannot be kept', async ({ vm }) => { await vm.ssh\`false\` })
    })
    test.describe('shared', () => {
      test.override({ vmScope: 'file' })
      test('is booted', async ({ vm }) => { await vm.ssh\`true\` })
      test('is out of time', { timeout: 3000 }, async ({ ssh }) => { await ssh\`sleep 1000\` })
    })`
  const run = await runVitest(ownTmpdir(), source, { args: ['--reporter=json', '--outputFile=results.json'] })
  expect(keptFiles(run)).toEqual({
    'some-test-does-not-start/tiny': FILES,
    'some-test-panics/tiny': FILES,
    'some-test-loses-its-QEMU/tiny': FILES,
    'some-test-shared-is-out-of-time/tiny': ANSWERED,
  })
  const [start, panic, killed, vain, , late] = JSON.parse(run.read('results.json')).testResults[0]
    .assertionResults
  expect(start.failureMessages[0]).toMatch(/nothing to boot[\s\S]*\n\nEvidence: test-results/)
  expect(panic.failureMessages[0]).toMatch(/panicked[\s\S]*\n\nEvidence: test-results/)
  expect(killed.failureMessages[0]).toMatch(/signal SIGKILL[\s\S]*\n\nEvidence: test-results/)
  expect(vain.failureMessages[0]).toMatch(
    /\n\nThe evidence could not be saved to vitest\.config\.mjs\/\S+: .*ENOTDIR/,
  )
  expect(late.failureMessages[0]).toMatch(/timed out in 3000ms[\s\S]*\n\nEvidence: test-results/)
  expect(late.duration).toBeLessThan(60_000)
})

test('evidence is kept always or never where a file or a describe says so, and for each try', async () => {
  const source = `
    let tries = 0
    test('is tried again', { retry: 1 }, async ({ vm }) => {
      await vm.ssh\`test \${tries++} = 1\`
    })
    test.describe('always', () => {
      test.override({ vmEvidence: 'always', vmScope: 'file' })
      test('passes', async ({ vm }) => { await vm.ssh\`true\` })
      test('passes with the same guest', async ({ vm }) => { await vm.ssh\`true\` })
    })
    test.describe('never', () => {
      test.override({ vmEvidence: 'never' })
      test('fails', async ({ vm }) => { await vm.ssh\`false\` })
    })
    test.describe('elsewhere', () => {
      test.override({ vmOptions: { artifacts: 'other' } })
      test('fails', async ({ vm }) => { await vm.ssh\`false\` })
    })`
  const run = await runVitest(ownTmpdir(), source)
  expect(run.output).toContain('Tests  2 failed | 3 passed')
  expect(keptFiles(run)).toEqual({
    'some-test-is-tried-again/tiny': ANSWERED,
    'some-test-always-passes/tiny': ANSWERED,
    'some-test-always-passes-with-the-same-guest/tiny': ANSWERED,
  })
  expect(keptFiles(run, 'other')).toEqual({ 'some-test-elsewhere-fails/tiny': ANSWERED })
  expect(run.output.match(/Evidence: /g)).toHaveLength(1)
})

test('what an earlier run kept of a test is not there after one in which it passes', async () => {
  const source = `
    test('passes in CI', async ({ vm }) => { await vm.ssh\`test \${process.env.PASSES} = yes\` })`
  const folder = ownTmpdir()
  const first = await runVitest(folder, source, { env: { PASSES: 'no' } })
  expect(keptFiles(first)).toEqual({ 'some-test-passes-in-CI/tiny': ANSWERED })
  const second = await runVitest(folder, source, { env: { PASSES: 'yes' } })
  expect(second.exitCode).toBe(0)
  expect(keptFiles(second)).toEqual({})
})

test('the config says for all tests of a project what is kept, and a describe says otherwise', async () => {
  const source = `
    test('fails', async ({ vm }) => { await vm.ssh\`false\` })
    test.describe('but', () => {
      test.override({ vmEvidence: 'on-failure' })
      test('fails', async ({ vm }) => { await vm.ssh\`false\` })
    })`
  const run = await runVitest(ownTmpdir(), source, { provide: { vmEvidence: 'never' } })
  expect(run.output).toContain('Tests  2 failed')
  expect(keptFiles(run)).toEqual({ 'some-test-but-fails/tiny': ANSWERED })
  expect(run.output.match(/Evidence: /g)).toHaveLength(1)
})
