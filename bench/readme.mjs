// `npm run packed:readme [-- --strict] [-- --only readme,own,init]` installs the packed package into empty projects, as a user
// does: runs the blocks of the README's quick start literally, with an empty cache and without flags, then `withvm init`.
// With `--strict`, a first test that takes more than 90 s, or a second run that takes more than 6 s, is a problem too.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    strict: { type: 'boolean', default: false },
    only: { type: 'string', default: 'readme,own,init' },
  },
})
const ROOT = resolve(import.meta.dirname, '..')
const LIMITS_S = { first: 90, second: 6 }
/** Time limit of a command, milliseconds: a Debian image may have to be built. */
const COMMAND_MS = 15 * 60_000
/** Settings of npm: no requests for what is in its cache, and an end to requests without a response. */
const NPM = { npm_config_prefer_offline: 'true', npm_config_fetch_timeout: '60000' }

const folder = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), 'readme-'))
const problems = []
try {
  const tarball = await pack()
  const parts = { readme: runReadme, own: runOwnImage, init: runInit }
  for (const name of values.only.split(',')) await parts[name](tarball)
} catch (error) {
  problems.push(error.message)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
for (const problem of problems) console.log(`PROBLEM: ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1

/** Packs the built package as for a release. */
async function pack() {
  const args = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder]
  const { output } = await run('npm', args, { cwd: ROOT })
  return join(folder, output.trim().split('\n').at(-1))
}

/** Runs the shell blocks of the quick start up to the first green test, then the tests once more. */
async function runReadme(tarball) {
  const project = makeProject('readme')
  const blocks = readQuickStart()
  const [test] = blocks.filter(({ file }) => file !== undefined)
  writeFileSync(join(project, test.file), test.text)
  const commands = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
  const env = ownCache('readme')
  let seconds = 0
  for (const command of commands) seconds += await runInShell(withTarball(command, tarball), project, env)
  report('README, from an empty project and cache to the first green test', seconds, LIMITS_S.first)
  report('README, second run', await runInShell(commands.at(-1), project, env), LIMITS_S.second)
}

/** Runs the second test of the quick start with a Debian disk, which boots by itself. */
async function runOwnImage(tarball) {
  const project = makeProject('own')
  const [, test] = readQuickStart().filter(({ file }) => file !== undefined)
  const { output } = await run(process.execPath, [
    join(ROOT, 'dist/src/cli/main.js'),
    'images',
    'path',
    'debian',
  ])
  symlinkSync(output.trim().split('\n').at(-1), join(project, /'\.\/(\S+)'/.exec(test.text)[1]))
  writeFileSync(join(project, test.file), test.text)
  let seconds = await runInShell(withTarball('npm i -D withvm vitest', tarball), project)
  seconds += await runInShell('npx vitest run', project, ownCache('own'))
  report(
    "README, from an empty project and cache to the first green test of a user's own qcow2",
    seconds,
    LIMITS_S.first,
  )
}

/** Runs `withvm init` in a project without \`"type": "module"\` and in one with it, then its tests and TypeScript. */
async function runInit(tarball) {
  for (const manifest of ['{}', '{ "type": "module" }']) {
    const project = makeProject(`init-${manifest.length}`)
    writeFileSync(join(project, 'package.json'), manifest)
    await runInShell(withTarball('npm i -D withvm vitest typescript @types/node', tarball), project)
    const env = ownCache('readme') // the image is the same
    let seconds = 0
    for (const command of ['npx withvm init', 'npx vitest run', 'npx tsc --noEmit'])
      seconds += await runInShell(command, project, env)
    report(`init in a project with the package.json ${manifest}`, seconds)
  }
}

/** Returns the blocks of code of the README's quick start. A test has the name of its file above it. */
function readQuickStart() {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const section = /^## Quick start\n([\s\S]*?)^## /m.exec(text)[1]
  const blocks = [...section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
  return blocks
    .map(({ 1: language, 2: code, index }, number) => {
      const before = section.slice(number === 0 ? 0 : blocks[number - 1].index, index)
      const file =
        language === 'ts' ? /`([\w-]+\.test\.ts)`:\s*(<!--.*-->\s*)?$/.exec(before)?.[1] : undefined
      return { language, text: code, file }
    })
    .filter(({ language, file }) => language === 'sh' || file !== undefined)
}

/** The package is not installed from the registry, but from the tarball. */
function withTarball(command, tarball) {
  return command.replace(/^(npm i .*)\bwithvm\b/m, `$1${tarball}`)
}

function makeProject(name) {
  const project = join(folder, name)
  mkdirSync(project)
  return project
}

/** Returns the environment of a user with an empty cache, outside of a CI. */
function ownCache(name) {
  const own = {
    XDG_CACHE_HOME: join(folder, `cache-${name}`),
    WITHVM_CACHE: undefined,
    WITHVM_SHARED_CACHE: undefined,
  }
  return {
    ...own,
    WITHVM_ARTIFACTS: undefined,
    CI: undefined,
    npm_config_cache: process.env.npm_config_cache,
  }
}

/** Runs commands in a shell. Returns the duration, seconds. */
async function runInShell(script, cwd, env = {}) {
  console.log(script.trim().replace(/^/gm, '$ '))
  const startedAt = performance.now()
  await run('sh', ['-ec', script], { cwd, env: { NO_COLOR: '1', ...NPM, ...env }, isShown: true })
  return (performance.now() - startedAt) / 1000
}

async function run(file, args, { cwd = ROOT, env = {}, isShown = false } = {}) {
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: COMMAND_MS,
  })
  let output = ''
  child.stdout.on('data', (text) => {
    output += text
  })
  for (const stream of isShown ? [child.stdout, child.stderr] : [child.stderr])
    stream.pipe(process.stdout, { end: false })
  const code = await new Promise((done) => child.once('close', done))
  if (code !== 0) throw new Error(`\`${[file, ...args].join(' ').trim()}\` ended with ${code}`)
  return { output }
}

function report(subject, seconds, limitS) {
  console.log(`=== ${subject}: ${seconds.toFixed(1)} s`)
  if (values.strict && limitS !== undefined && seconds > limitS)
    problems.push(`${subject} took more than ${limitS} s`)
}
