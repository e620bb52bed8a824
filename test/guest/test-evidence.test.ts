import { expect, test } from 'vitest'
import { ownTmpdir } from '../support/own-tmpdir.js'
import { type ProjectRun, runVitest } from '../support/vitest-project.js'

/** Lists the saved files of each guest by the folder of its test, without the parts of names that change with each run. */
function savedFiles(run: ProjectRun, folder = 'test-results/withvm'): Record<string, string[]> {
  const files: Record<string, string[]> = {}
  for (const path of run.list(folder)) {
    const [guest = '', test = ''] = path.split('/').slice(-3, -1).reverse()
    const name = `${test.replace(/-[0-9a-f]{6}(?=$|-retry)/, '')}/${guest.replace(/-[0-9a-f]{6}$/, '')}`
    files[name] = [...(files[name] ?? []), path.slice(path.lastIndexOf('/') + 1)].sort()
  }
  return files
}

const FILES = ['command-line.txt', 'commands.log', 'guest.txt', 'qemu.log', 'qmp.log', 'serial.log']
const WITH_DMESG = [...FILES, 'dmesg.txt'].sort()

test('every reporter shows the logs of the guests of a failed test as attachments', async () => {
  const source = `
    test('fails', async ({ vm, launch }) => {
      await launch({ name: 'other' })
      expect((await vm.ssh\`echo wrong\`).stdout).toBe('right')
    })
    test('passes', async ({ vm }) => { await vm.ssh\`true\` })
    test.fails('is expected to fail', async ({ vm }) => { await vm.ssh\`false\` })
    test.fails('is skipped', async ({ vm, skip }) => { skip(vm.isRunning) })
    test('expects a failed start', async ({ launch }) => {
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
  expect(savedFiles(run)).toEqual({ 'some-test-fails/tiny': WITH_DMESG, 'some-test-fails/other': WITH_DMESG })
  const evidence = /test-results\/withvm\/some-test-fails-[0-9a-f]{6}/
  // The default reporter and the TAP reporter.
  expect(run.output).toMatch(new RegExp(`AssertionError: .*\\n\\nEvidence: ${evidence.source}\\n`))
  expect(run.output).toMatch(new RegExp(`↳ evidence: ${evidence.source}\\n( +↳ .*\\n)+`))
  expect(run.output).toMatch(/↳ tiny-[0-9a-f]{6}\/serial\.log\n/)
  expect(run.output).toMatch(new RegExp(`# notice: evidence: ${evidence.source}\\n`))
  expect(run.output).toMatch(new RegExp(`::error file=\\S+some\\.test\\.ts,.*Evidence: ${evidence.source}`))
  expect(run.read('junit.xml')).toMatch(/<property name="notice" value="tiny-[0-9a-f]{6}\/commands\.log">/)
  const { testResults } = JSON.parse(run.read('results.json'))
  const [failed, passed] = testResults[0].assertionResults
  expect(failed.failureMessages[0]).toMatch(evidence)
  expect(failed.meta.withvmEvidence).toHaveLength(2 * WITH_DMESG.length)
  expect(failed.meta.withvmEvidence).toContainEqual(expect.stringMatching(/tiny-[0-9a-f]{6}\/dmesg\.txt$/))
  expect(passed.meta).toEqual({})
  // Copies that Vitest makes for its HTML report.
  expect(run.list('.vitest-attachments')).toContainEqual(expect.stringMatching(/serial-log-[0-9a-f]+\.log$/))
})

test('a failed start, a panic, the end of QEMU and a test timeout leave evidence without delay', async () => {
  const source = `
    test('does not start', async ({ launch }) => { await launch({ boot: 'c' }) })
    test('panics', async ({ vm }) => { await vm.ssh\`echo c >/proc/sysrq-trigger; sleep 60\` })
    test('loses its QEMU', async ({ vm }) => {
      process.kill(vm.pid, 'SIGKILL')
      await vm.ssh\`true\`
    })
    test.describe('unwritable', () => {
      test.override({ vmOptions: { artifacts: 'vitest.config.mjs' } })
      test('cannot be saved', async ({ vm }) => { await vm.ssh\`false\` })
    })
    test.describe('shared', () => {
      test.override({ vmScope: 'file' })
      test('is booted', async ({ vm }) => { await vm.ssh\`true\` })
      test('times out', { timeout: 8000 }, async ({ ssh }) => { await ssh\`sleep 1000\` })
    })`
  const run = await runVitest(ownTmpdir(), source, { args: ['--reporter=json', '--outputFile=results.json'] })
  expect(savedFiles(run)).toEqual({
    'some-test-does-not-start/tiny': FILES,
    'some-test-panics/tiny': FILES,
    'some-test-loses-its-QEMU/tiny': FILES,
    'some-test-shared-times-out/tiny': WITH_DMESG,
  })
  const [start, panic, killed, unwritable, , late] = JSON.parse(run.read('results.json')).testResults[0]
    .assertionResults
  expect(start.failureMessages[0]).toMatch(/nothing to boot[\s\S]*\n\nEvidence: test-results/)
  expect(panic.failureMessages[0]).toMatch(/panicked[\s\S]*\n\nEvidence: test-results/)
  expect(killed.failureMessages[0]).toMatch(/signal SIGKILL[\s\S]*\n\nEvidence: test-results/)
  expect(unwritable.failureMessages[0]).toMatch(
    /\n\nThe evidence could not be saved to vitest\.config\.mjs\/\S+: .*ENOTDIR/,
  )
  expect(late.failureMessages[0]).toMatch(/`sleep 1000` was still running[\s\S]*\n\nEvidence: test-results/)
  expect(late.duration).toBeLessThan(60_000)
})

test('`vmEvidence` of a file or a describe block selects whether evidence is saved, for each retry', async () => {
  const source = `
    let tries = 0
    test('is retried', { retry: 1 }, async ({ vm }) => {
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
  expect(savedFiles(run)).toEqual({
    'some-test-is-retried/tiny': WITH_DMESG,
    'some-test-always-passes/tiny': WITH_DMESG,
    'some-test-always-passes-with-the-same-guest/tiny': WITH_DMESG,
  })
  expect(savedFiles(run, 'other')).toEqual({ 'some-test-elsewhere-fails/tiny': WITH_DMESG })
  expect(run.output.match(/^Evidence: /gm)).toHaveLength(1)
})

test('a run in which a test passes removes the evidence of that test from earlier runs', async () => {
  const source = `
    test('passes in CI', async ({ vm }) => { await vm.ssh\`test \${process.env.PASSES} = yes\` })`
  const folder = ownTmpdir()
  const first = await runVitest(folder, source, { env: { PASSES: 'no' } })
  expect(savedFiles(first)).toEqual({ 'some-test-passes-in-CI/tiny': WITH_DMESG })
  const second = await runVitest(folder, source, { env: { PASSES: 'yes' } })
  expect(second.exitCode).toBe(0)
  expect(savedFiles(second)).toEqual({})
})

test('`vmEvidence` of the config applies to all tests of a project, and a describe block can override it', async () => {
  const source = `
    test('fails', async ({ vm }) => { await vm.ssh\`false\` })
    test.describe('overridden', () => {
      test.override({ vmEvidence: 'on-failure' })
      test('fails', async ({ vm }) => { await vm.ssh\`false\` })
    })`
  const run = await runVitest(ownTmpdir(), source, { provide: { vmEvidence: 'never' } })
  expect(run.output).toContain('Tests  2 failed')
  expect(savedFiles(run)).toEqual({ 'some-test-overridden-fails/tiny': WITH_DMESG })
  expect(run.output.match(/^Evidence: /gm)).toHaveLength(1)
})
