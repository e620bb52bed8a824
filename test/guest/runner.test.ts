import { existsSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { nestedProject } from '../support/nested-vitest.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const CONFIG = `testTimeout: 120_000, provide: { vmOptions: { image: 'tiny', memory: '192M' } },`

/** Makes a Vitest project with its own TMPDIR, and asserts at the end that nothing is left there. */
function guestProject(config = '') {
  const tmpdir = ownTmpdir()
  const project = nestedProject(`${CONFIG} ${config}`)
  onTestFinished(async () => {
    project[Symbol.dispose]()
    // The workers and their standbys end shortly after the runner.
    await expect.poll(() => findLeftovers(tmpdir), { timeout: 5000 }).toEqual(NOTHING)
  })
  return { project, env: { TMPDIR: tmpdir } }
}

const statuses = (results: readonly { fullName: string; status: string }[]) =>
  results.map(({ fullName, status }) => `${status}: ${fullName}`)

test.each(['threads', 'forks'])(
  'the Vitest pool %s runs tests of every kind, with the options of the config',
  async (pool) => {
    const { project, env } = guestProject()
    project.write(
      'kinds.test.ts',
      `
import { expect, test } from 'withvm/vitest'
import { describe } from 'vitest'

test.override({ vmScope: 'file' })

describe.each(['one', 'two'])('%s', (word) => {
  test('a test of describe.each', async ({ vm }) => {
    await expect(vm.ssh\`echo \${word}\`).toPrint(word)
    expect(Number((await vm.ssh\`awk '/MemTotal/ {print $2}' /proc/meminfo\`).stdout)).toBeLessThan(192 * 1024)
  })
})

describe.concurrent('a concurrent test', () => {
  for (const word of ['one', 'two'])
    test(word, async ({ vm, expect }) => {
      await vm.ssh\`echo \${word} >/tmp/\${word}\`
      await expect(vm).toHaveFile('/tmp/' + word, { content: word })
    })
})

let tries = 0
test('a retried test', async ({ vm }) => {
  await expect(vm.ssh\`test \${++tries} = 2\`).toSucceed()
})

let repeats = 0
test('a repeated test', { repeats: 2 }, async ({ vm }) => {
  await expect(vm.ssh\`echo \${++repeats}\`).toPrint(String(repeats))
})
`,
    )
    const results = await project.run([`--pool=${pool}`, '--retry=1'], env)
    expect(statuses(results)).toEqual([
      'passed: one a test of describe.each',
      'passed: two a test of describe.each',
      'passed: a concurrent test one',
      'passed: a concurrent test two',
      'passed: a retried test',
      'passed: a repeated test',
    ])
  },
)

test('shards run only their own tests', async () => {
  const { project, env } = guestProject()
  for (const name of ['a', 'b']) {
    project.write(
      `${name}.test.ts`,
      `import { expect, test } from 'withvm/vitest'
test('${name}', async ({ ssh }) => { await expect(ssh\`hostname\`).toPrint('tiny') })`,
    )
  }
  const shards = await Promise.all(
    // Each shard has its own report.
    ['1/2', '2/2'].map(async (shard) => {
      const { all } = await project.start(['run', '--reporter=verbose', `--shard=${shard}`], env)
      return /✓ ([ab])\.test\.ts/.exec(all)?.[1]
    }),
  )
  expect(shards.sort()).toEqual(['a', 'b'])
})

test('`--bail` ends pending waits and starts in other files, with their guests', async () => {
  const { project, env } = guestProject()
  project.write(
    'fails.test.ts',
    `import { expect, test } from 'withvm/vitest'
test('fails', async ({ vm }) => { await expect(vm.ssh\`sleep 3; false\`).toSucceed() })`,
  )
  project.write(
    'waits.test.ts',
    `import { test } from 'withvm/vitest'
test.concurrent('waits', async ({ serial, expect }) => {
  await expect(serial).toSee('never printed', { timeout: '100s' })
})
test.concurrent('starts', async ({ launch }) => {
  await launch({ ready: /never printed/, ssh: false, timeouts: { start: '100s' } })
})`,
  )
  const startedAt = performance.now()
  await project.run(['--bail=1', '--maxWorkers=2'], env)
  expect(performance.now() - startedAt).toBeLessThan(60_000)
})

test('watch mode reruns a file with new guests, and leaves none behind at its end', async () => {
  const { project, env } = guestProject()
  const source = (word: string) => `import { expect, test } from 'withvm/vitest'
test.override({ vmScope: 'worker' })
test('${word}', async ({ vm }) => {
  await expect(vm.ssh\`ls /root\`).not.toPrint('used')
  await vm.ssh\`touch /root/used\`
})`
  project.write('watched.test.ts', source('first'))
  const watching = project.start(['watch', '--reporter=verbose', '--no-file-parallelism'], env)
  onTestFinished(() => void watching.kill('SIGKILL'))
  let output = ''
  watching.all.on('data', (bytes) => {
    output += String(bytes)
  })
  const toHaveRun = async (word: string) =>
    expect
      .poll(() => output, { timeout: 90_000, interval: 200 })
      .toMatch(new RegExp(`✓ watched\\.test\\.ts > ${word}`))
  await toHaveRun('first')
  project.write('watched.test.ts', source('second'))
  await toHaveRun('second')
  expect(output).not.toContain('✗')
  expect(output).not.toContain('×')
  watching.kill('SIGINT')
  await watching
})

test('a worker ends with its guests after the runner was killed, even with an unhandled rejection', async () => {
  const { project, env } = guestProject()
  project.write(
    'worker.test.ts',
    `import { expect, test } from 'withvm/vitest'
test('reports its worker', async ({ vm }) => {
  // Simulates an unhandled rejection after the worker lost its runner.
  for (const listener of process.listeners('error')) process.off('error', listener)
  setInterval(() => process.connected || Promise.reject(new Error('unhandled')), 1)
  console.log('the worker is', process.pid)
  await vm.ssh\`sleep 100\`
})`,
  )
  const running = project.start(['run', '--reporter=verbose'], env)
  onTestFinished(() => void running.kill('SIGKILL'))
  let output = ''
  running.all.on('data', (bytes) => {
    output += String(bytes)
  })
  await expect.poll(() => output, { timeout: 90_000 }).toMatch(/the worker is \d+\n/)
  const worker = Number(/the worker is (\d+)/.exec(output)?.[1])
  running.kill('SIGKILL')
  await expect.poll(() => existsSync(`/proc/${worker}`), { timeout: 10_000 }).toBe(false)
})
