import { basename, dirname } from 'node:path'
import { expect, test } from 'vitest'
import { defineImage, type ImageOptions, type VM } from 'withvm'
import { readImageHistory } from '../../src/cache/image-history.js'
import { resolveCacheDir } from '../../src/common/cache-dir.js'
import { resolveImage } from '../../src/image/resolve-image.js'
import { startLayersAs } from '../../src/launch/plan-guest.js'
import { ownTmpdir } from '../support/own-tmpdir.js'

/** Builds an image in an own cache. Returns the reports without the steps, and the path of the disk. */
async function build(options: ImageOptions, cacheDir: string) {
  const reports: string[] = []
  const { disk } = await resolveImage(defineImage(options).source, {
    cacheDir,
    sharedCacheDir: resolveCacheDir(),
    startLayers: startLayersAs(undefined),
    onProgress: (step) => void reports.push(step),
  })
  return { reports, disk: disk?.path as string }
}

const isCached = (report: string) => report.endsWith(': cached')

test('a changed file of an image rebuilds its layers only, and its commands see the new file', async () => {
  const cacheDir = ownTmpdir()
  const seen: string[] = []
  const options = (greeting: string): ImageOptions => ({
    name: 'daemon',
    from: 'tiny',
    files: {
      '/bin/greet': { content: `#!/bin/sh\necho '${greeting}'\n`, mode: 0o4755 },
      [`/srv/${'long/'.repeat(25)}name`]: 'deep\n',
      '/etc/mtab': 'no longer a link\n',
    },
    run: ['greet >/srv/greeting'],
    async prepare(vm: VM) {
      const { stdout } = await vm.ssh`
        cat /srv/greeting /srv/long/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/name
        stat -c '%a %u:%g' /usr/bin/greet /srv/long /srv
        stat -c %F /bin /etc/mtab`
      seen.push(stdout)
    },
  })
  const first = await build(options('hello'), cacheDir)
  expect(first.reports.filter(isCached)).toEqual([])
  expect(seen.pop()).toBe('hello\ndeep\n4755 0:0\n755 0:0\n755 0:0\nsymbolic link\nregular file')
  const again = await build(options('hello'), cacheDir)
  expect(again).toEqual({
    reports: ['files', 'run', 'prepare'].map((name, index) => `layer ${index + 1} of 3 (${name}): cached`),
    disk: first.disk,
  })
  const edited = await build(options('changed'), cacheDir)
  expect(edited.reports.filter(isCached)).toEqual([])
  expect(seen.pop()).toMatch(/^changed\n/)
  const history = await readImageHistory('daemon', { cacheDir, sharedCacheDir: undefined })
  expect(history.map(({ content }) => content.replace(/ .*/, ''))).toEqual([
    'prepare',
    'run',
    'files',
    'tiny',
  ])
  expect(history[0]?.name).toBe(basename(dirname(edited.disk)))
  // Only the differences are stored.
  expect(history[2]?.bytes).toBeLessThan(4 * 1024 ** 2)
  expect(history[3]?.bytes).toBeGreaterThan(32 * 1024 ** 2)
})
