import { existsSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { findLeftovers, NOTHING } from '../support/leftovers.js'
import { nestedProject } from '../support/nested-vitest.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

const CONFIG = `testTimeout: 120_000, provide: { vmOptions: { image: 'tiny', memory: '192M' } },`

/** A project whose guests are kept below a folder of their own, which has to be empty in the end. */
function guestProject(config = '') {
  const tmpdir = ownTmpdir()
  const project = nestedProject(`${CONFIG} ${config}`)
  onTestFinished(async () => {
    project[Symbol.dispose]()
    // Its workers end a moment after it: with them what stood by for a next test.
    await expect.poll(() => findLeftovers(tmpdir), { timeout: 5000 }).toEqual(NOTHING)
  })
  return { project, env: { TMPDIR: tmpdir } }
}

const statuses = (results: readonly { fullName: string; status: string }[]) =>
  results.map(({ fullName, status }) => `${status}: ${fullName}`)

test.each(['threads', 'forks'])(
  'the pool %s runs tests of every kind, with the options of the config',
  async (pool) => {
    const { project, env } = guestProject()
    project.write(
      'kinds.test.ts',
      `
import { expect, test } from 'withvm/vitest'
import { describe } from 'vitest'

test.override({ vmScope: 'file' })

describe.each(['one', 'two'])('%s', (word) => {
  test('in a describe.each', async ({ vm }) => {
    await expect(vm.ssh\`echo \${word}\`).toPrint(word)
    expect(Number((await vm.ssh\`awk '/MemTotal/ {print $2}' /proc/meminfo\`).stdout)).toBeLessThan(192 * 1024)
  })
})

describe.concurrent('at the same time', () => {
  for (const word of ['one', 'two'])
    test(word, async ({ vm, expect }) => {
      await vm.ssh\`echo \${word} >/tmp/\${word}\`
      await expect(vm).toHaveFile('/tmp/' + word, { content: word })
    })
})

let tries = 0
test('again where it failed', async ({ vm }) => {
  await expect(vm.ssh\`test \${++tries} = 2\`).toSucceed()
})

let repeats = 0
test('repeated', { repeats: 2 }, async ({ vm }) => {
  await expect(vm.ssh\`echo \${++repeats}\`).toPrint(String(repeats))
})
`,
    )
    const results = await project.run([`--pool=${pool}`, '--retry=1'], env)
    expect(statuses(results)).toEqual([
      'passed: one in a describe.each',
      'passed: two in a describe.each',
      'passed: at the same time one',
      'passed: at the same time two',
      'passed: again where it failed',
      'passed: repeated',
    ])
  },
)

test('shards have the guests of their own tests alone', async () => {
  const { project, env } = guestProject()
  for (const name of ['a', 'b']) {
    project.write(
      `${name}.test.ts`,
      `import { expect, test } from 'withvm/vitest'
test('${name}', async ({ ssh }) => { await expect(ssh\`hostname\`).toPrint('tiny') })`,
    )
  }
  const shards = await Promise.all(
    // Each with a report of its own.
    ['1/2', '2/2'].map(async (shard) => {
      const { all } = await project.start(['run', '--reporter=verbose', `--shard=${shard}`], env)
      return /✓ ([ab])\.test\.ts/.exec(all)?.[1]
    }),
  )
  expect(shards.sort()).toEqual(['a', 'b'])
})

test('a run that is given up ends what waits in other files by their signal, and their guests', async () => {
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

test('watch mode runs a file again with guests that are new, and leaves none when it ends', async () => {
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

test('a worker whose runner is killed ends with its guests, whatever it has still to say', async () => {
  const { project, env } = guestProject()
  project.write(
    'talks.test.ts',
    `import { expect, test } from 'withvm/vitest'
test('talks', async ({ vm }) => {
  // What becomes of an error when there is nobody left to tell it to, and the worker was already told to stop.
  for (const listener of process.listeners('error')) process.off('error', listener)
  setInterval(() => process.connected || Promise.reject(new Error('unheard')), 1)
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
