// Programs that the chaos suite kills in a certain phase: sources of programs, or commands of withvm.
import { createHash } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { openCacheEntry } from '../dist/src/cache/cache.js'

const CLI = new URL('../dist/src/cli/main.js', import.meta.url).pathname
const MIB = 1024 ** 2
const DOWNLOAD_BYTES = 256 * MIB
/** Size and interval of chunks: at 16 MiB/s, a download takes longer than any delay. */
const PIECE_BYTES = MIB
const PIECE_MS = 60

/** Serves a file of zeros at a limited rate. Returns its URL. */
export async function serveSlowly() {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-length': DOWNLOAD_BYTES })
    let sent = 0
    const timer = setInterval(() => {
      response.write(Buffer.alloc(PIECE_BYTES))
      sent += PIECE_BYTES
      if (sent === DOWNLOAD_BYTES) response.end()
    }, PIECE_MS)
    response.once('close', () => clearInterval(timer))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  return `http://127.0.0.1:${server.address().port}/disk.img`
}

/**
 * Returns the phases by fault name: `longestMs` is the latest moment of the kill, `cacheDir` their own cache.
 * @param url the URL of {@link serveSlowly}
 * @param usualCache the cache with the default image
 */
export function describePhases(folder, url, usualCache) {
  const cacheDir = join(folder, 'own-cache')
  const own = { WITHVM_CACHE: cacheDir, WITHVM_SHARED_CACHE: usualCache }
  const alone = { WITHVM_CACHE: cacheDir, WITHVM_SHARED_CACHE: '' }
  const sha256 = createHash('sha256').update('another file').digest('hex')
  return {
    'kill-probe': { args: [CLI, 'doctor', '--fresh'], longestMs: 2500, env: alone, cacheDir },
    'kill-build': { args: [CLI, 'images', 'build', 'tiny'], longestMs: 14_000, env: alone, cacheDir },
    'kill-download': {
      source: `import { withVM } from 'withvm'
        await withVM({ image: { url: ${JSON.stringify(url)}, sha256: '${sha256}' }, log: () => {} }, async () => {})`,
      ...{ longestMs: 8000, env: alone, cacheDir },
    },
    'kill-save': {
      source: `import { withVM } from 'withvm'
        await withVM({ log: () => {} }, async () => {})`,
      ...{ longestMs: 8000, env: own, cacheDir },
    },
    'kill-fork': {
      source: `import { withVM } from 'withvm'
        await withVM({ standby: false, log: () => {} }, async (vm) => {
          for (;;) {
            await vm.ssh\`head -c 3000000 /dev/urandom >>/root/x; sync\`
            const [child] = await vm.fork(2)
            await child.fork()
            for (const one of [...child.children, ...vm.children]) await one.dispose()
          }
        })`,
      ...{ longestMs: 6000, env: {} },
    },
    'kill-netboot': {
      source: `import { withVM } from 'withvm'
        const files = { 'boot.ipxe': '#!ipxe\\n:again\\nimgfetch big || shell\\nimgfree\\ngoto again\\n', big: Buffer.alloc(8e6) }
        await withVM({ netboot: { bootfile: 'boot.ipxe', http: true, files }, log: () => {} }, async (vm) => {
          await new Promise(() => {})
        })`,
      ...{ longestMs: 8000, env: {} },
    },
    'kill-guestfwd': {
      source: `import { withVM } from 'withvm'
        const command = "sh -c 'sleep 1000 & trap \\"\\" PIPE HUP TERM; cat >/dev/null; wait'"
        await withVM({ network: { guestfwd: [{ address: '10.0.2.100:7', command }] }, log: () => {} }, async (vm) => {
          await vm.ssh\`for i in 1 2 3; do (sleep 1000 | nc 10.0.2.100 7) >/dev/null 2>&1 & done; sleep 1000\`
        })`,
      ...{ longestMs: 4000, env: {} },
    },
  }
}

/** Empties the cache of a phase, except for the facts of the usual cache about this host. */
export function emptyCache({ cacheDir }, name, usualCache) {
  if (cacheDir === undefined) return
  rmSync(cacheDir, { recursive: true, force: true })
  mkdirSync(join(cacheDir, 'host'), { recursive: true })
  if (name === 'kill-probe') return
  for (const fact of readdirSync(join(usualCache, 'host'))) {
    linkSync(join(usualCache, 'host', fact), join(cacheDir, 'host', fact))
  }
}

/** Builds another entry in the cache of a phase, which removes the remains of dead builders. Lists the remains. */
export async function findRemains({ cacheDir }) {
  if (cacheDir === undefined) return []
  const left = []
  for (const part of ['images', 'templates']) {
    await openCacheEntry({
      cacheDir,
      folder: part,
      name: 'next',
      inputs: Math.random(),
      build: async () => {},
    })
    const names = [...readdirSync(join(cacheDir, part)), ...readdirSync(join(cacheDir, part, '.locks'))]
    left.push(...names.filter((file) => file.startsWith('.build-')).map((file) => `${part}/${file}`))
  }
  return left
}
