import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterEach, expect, test, vi } from 'vitest'
import { pickToolEnvironment } from '../../../../src/common/process/environment.js'
import { type HostTool, runTool, streamTool } from '../../../../src/common/process/run-tool.js'
import { parseHardLimits } from '../../../../src/common/process/tool-limits.js'
import { failureOf } from '../../../support/failure-of.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'

const SHELL: HostTool = { program: 'sh', aptPackage: 'dash', why: 'runs scripts' }
const PARSER: HostTool = { ...SHELL, parsesImages: true }
const common = { purpose: 'testing', timeoutMs: 60_000 }

afterEach(() => vi.unstubAllEnvs())

const outputOf = async (tool: HostTool, script: string, more: object = {}) =>
  Buffer.from(await runTool({ ...common, tool, args: ['-c', script], ...more })).toString()

test('a tool of the host does not get tokens from the environment', async () => {
  vi.stubEnv('CI_JOB_TOKEN', 'secret')
  vi.stubEnv('https_proxy', 'http://user:password@proxy:3128')
  vi.stubEnv('TZ', 'Europe/Vienna')
  const env = await outputOf(SHELL, 'env')
  expect(env).not.toMatch(/CI_JOB_TOKEN|https_proxy/)
  expect(env).toMatch(/^TZ=Europe\/Vienna$/m)
  expect(env).toMatch(/^LC_ALL=C$/m)
  let streamed = ''
  await streamTool({ ...common, tool: SHELL, args: ['-c', 'env'] }, async (piece) => {
    streamed += piece.toString()
  })
  expect(streamed).not.toContain('CI_JOB_TOKEN')
})

test('only a tool that uses the network gets the proxy settings', () => {
  const env = { HTTPS_PROXY: 'a', no_proxy: 'b', SSL_CERT_FILE: 'c', NPM_TOKEN: 'd', PATH: '/bin' }
  expect(pickToolEnvironment(env)).toEqual({ PATH: '/bin' })
  const { NPM_TOKEN: _, ...wanted } = env
  expect(pickToolEnvironment(env, { usesNetwork: true })).toEqual(wanted)
})

test.runIf(process.platform === 'linux')('a tool that parses images runs under limits', async () => {
  const limits = await outputOf(PARSER, 'cat /proc/self/limits')
  expect(limits).toMatch(/^Max address space +4294967296 +4294967296 /m)
  expect(limits).toMatch(/^Max core file size +0 +0 /m)
  expect(limits).toMatch(/^Max cpu time +\d+ +\d+ /m)
  expect(await outputOf(SHELL, 'cat /proc/self/limits')).not.toMatch(/^Max address space +4294967296 /m)
})

test.runIf(process.platform === 'linux')('a read-only tool cannot write to any file', async () => {
  const path = join(ownTmpdir(), 'written')
  const script = `echo text >${path}`
  await outputOf(PARSER, script)
  const error = await failureOf(outputOf(PARSER, script, { writes: false }))
  expect(error.code).toBe('IMAGE_BUILD_FAILED')
})

test('a missing program is reported with its package, even under limits', async () => {
  const tool: HostTool = { ...PARSER, program: 'frobnicate', aptPackage: 'frob' }
  const error = await failureOf(runTool({ ...common, tool, args: [] }))
  expect(error.code).toBe('TOOL_NOT_FOUND')
  expect(error.message).toContain('apt install frob')
})

test('hard limits are parsed, and missing or unlimited ones are infinite', () => {
  const text = `Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max address space         1000                 2000                 bytes
`
  const cpuSeconds = Number.POSITIVE_INFINITY
  expect(parseHardLimits(text)).toEqual({ addressSpaceBytes: 2000, cpuSeconds })
  expect(parseHardLimits('')).toEqual({ addressSpaceBytes: cpuSeconds, cpuSeconds })
})

/** Lists the processes whose arguments contain a string. */
function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(text)
      } catch {
        return false // the process has ended
      }
    })
    .map(Number)
}

/** Script of a background process, as started by a package manager, that lives until it is killed. */
const STUBBORN = (mark: string) =>
  `trap '' TERM HUP PIPE; sh -c 'sleep 1000; :' ${mark} & sh -c 'sleep 1000; :' ${mark}; :`

test('a tool and its children end when this process is killed', async () => {
  const mark = `mark-${process.pid}-killed`
  const module = new URL('../../../../dist/src/common/process/run-tool.js', import.meta.url).href
  const source = `
    const { runTool } = await import('${module}')
    await runTool({ tool: ${JSON.stringify(SHELL)}, args: ['-c', ${JSON.stringify(STUBBORN(mark))}], purpose: 'testing', timeoutMs: 60000 })`
  const testProcess = execa(process.execPath, ['--input-type=module', '-e', source], { reject: false })
  await expect.poll(() => processesWith(mark), { timeout: 20_000 }).toHaveLength(2)
  testProcess.kill('SIGKILL')
  await testProcess
  await expect.poll(() => processesWith(mark)).toEqual([])
})

test('a tool that is aborted or ends by itself leaves no child processes', async () => {
  const mark = `mark-${process.pid}-aborted`
  const controller = new AbortController()
  const script = `sh -c 'sleep 1000; :' ${mark} & sh -c 'sleep 1000; :' ${mark}; :`
  const running = outputOf(SHELL, script, { signal: controller.signal }).catch(
    (error: Error) => error.message,
  )
  await expect.poll(() => processesWith(mark), { timeout: 20_000 }).toHaveLength(2)
  controller.abort(new Error('enough'))
  expect(await running).toBe('enough')
  await expect.poll(() => processesWith(mark)).toEqual([])
  await outputOf(SHELL, `sh -c 'sleep 1000; :' ${mark} >/dev/null 2>&1 & :`)
  await expect.poll(() => processesWith(mark)).toEqual([])
})

test.runIf(process.geteuid?.() === 0)(
  'mounts of a tool with its own mount namespace are visible only to that tool',
  async () => {
    const dir = ownTmpdir()
    const script = `mount -t tmpfs none ${dir} && touch ${dir}/inside && grep -c ${dir} /proc/mounts`
    expect(await outputOf(SHELL, script, { hasOwnMounts: true })).toBe('1\n')
    expect(readdirSync(dir)).toEqual([])
  },
)
