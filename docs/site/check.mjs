// `npm run docs:check` opens each page of the built site in Chromium, at two widths. It fails on dead links, errors on the
// console, requests to other hosts, pages that scroll sideways, a menu that does not open, and searches that do not find their page.
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'
import { chromium } from 'playwright-core'
import { serve } from 'vitepress'

const SITE = resolve(import.meta.dirname)
const DIST = join(SITE, 'dist')
const PORT = Number(process.env.PORT ?? 4321)
const ORIGIN = `http://localhost:${PORT}`
const SEARCH_MS = 30_000
const WIDTHS = { desktop: { width: 1280, height: 800 }, phone: { width: 375, height: 740 } }

/** What readers look for, and a page among the first three results of the search. */
const LOOKUPS = {
  'private network': '/docs/networks#private-network-between-guests',
  'packet loss': '/docs/networks#packet-loss-delay-and-bandwidth',
  'kernel log': '/docs/kernels#the-kernel-log',
  Jest: '/docs/other-runners#jest',
  tsconfig: '/docs/install#typescript',
  install: '/docs/install',
  'CI cache': '/docs/ci#the-ci-cache',
  'own kernel': '/docs/kernels#your-own-kernel',
  'missing await': '/docs/troubleshooting#a-missing-await',
  reboot: '/docs/',
}

const problems = []
const executablePath = findChromium()
const server = await serve({ root: SITE, port: PORT })
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
try {
  const pages = readdirSync(DIST, { recursive: true })
    .filter((name) => name.endsWith('.html') && name !== '404.html')
    .map((name) => `/${name}`)
  const targets = new Map()
  const links = []
  for (const [name, viewport] of Object.entries(WIDTHS)) {
    const page = await openPage(viewport, name)
    for (const path of pages) {
      await page.goto(ORIGIN + path, { waitUntil: 'load' })
      const found = await page.evaluate(readPage)
      if (found.overflow > 0) report(`${name}: ${path} is ${found.overflow} px too wide: ${found.widest}`)
      targets.set(path, new Set(found.ids))
      links.push(...found.links.map((link) => [path, link]))
    }
    if (name === 'phone') await checkMenu(page)
    else await checkSearch(page)
    await page.context().close()
  }
  for (const problem of new Set(links.map(([path, link]) => checkLink(path, link, targets)))) {
    if (problem !== undefined) report(problem)
  }
  console.log(`${pages.length} pages, ${links.length} links, ${Object.keys(LOOKUPS).length} searches`)
} finally {
  await browser.close()
  server.server?.close()
}
for (const problem of problems) console.error(problem)
console.log(problems.length === 0 ? 'The site is correct.' : `${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)

function report(problem) {
  problems.push(problem)
}

function findChromium() {
  const names = ['chromium', 'chromium-browser', 'google-chrome']
  const folders = (process.env.PATH ?? '').split(delimiter)
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find(existsSync)
  if (process.env.CHROMIUM ?? found) return process.env.CHROMIUM ?? found
  console.error(
    'Chromium was not found. Install it (`apt-get install chromium`), or set CHROMIUM to its path.',
  )
  process.exit(1)
}

async function openPage(viewport, name) {
  const context = await browser.newContext({ viewport, reducedMotion: 'reduce' })
  const page = await context.newPage()
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) report(`${name}: ${page.url()}: ${message.text()}`)
  })
  page.on('pageerror', (error) => report(`${name}: ${page.url()}: ${error.message}`))
  page.on('requestfailed', (request) => {
    const { errorText } = request.failure() ?? {}
    // The next page was opened while this one still prefetched others.
    if (errorText !== 'net::ERR_ABORTED') report(`${name}: ${request.url()}: ${errorText}`)
  })
  page.on('request', (request) => {
    if (!/^(?:http:\/\/localhost|data:|blob:)/.test(request.url()))
      report(`${name}: requests ${request.url()}`)
  })
  return page
}

/** Runs in the browser. */
function readPage() {
  const root = document.documentElement
  const overflow = root.scrollWidth - root.clientWidth
  const wide = [...document.querySelectorAll('main *')].filter(
    (element) => element.getBoundingClientRect().right > root.clientWidth + 1,
  )
  return {
    overflow,
    widest: overflow > 0 ? wide.slice(0, 3).map((element) => element.outerHTML.slice(0, 80)) : '',
    ids: [...document.querySelectorAll('[id]')].map(({ id }) => id),
    links: [...document.querySelectorAll('a[href]')].map(({ href }) => href),
  }
}

function checkLink(path, link, targets) {
  const { origin, pathname, hash } = new URL(link)
  if (origin !== ORIGIN) return undefined
  const page = pathname.endsWith('/') ? `${pathname}index.html` : pathname.replace(/(?:\.html)?$/, '.html')
  const ids = targets.get(page)
  if (ids === undefined) return `${path}: no page ${pathname}`
  const id = decodeURIComponent(hash.slice(1))
  return id === '' || ids.has(id) ? undefined : `${path}: no anchor ${pathname}${hash}`
}

async function checkMenu(page) {
  await page.goto(`${ORIGIN}/docs/guide.html`)
  await page.locator('.VPLocalNav .menu').click()
  const sidebar = page.locator('.VPSidebar.open')
  await sidebar.getByRole('link', { name: 'Networks' }).click()
  await page.waitForURL('**/docs/networks.html')
  await page.locator('.VPNavBarHamburger').click()
  await page.locator('.VPNavScreen').getByRole('link', { name: 'Options' }).click()
  await page.waitForURL('**/docs/options.html')
}

async function checkSearch(page) {
  for (const [query, target] of Object.entries(LOOKUPS)) {
    await page.goto(`${ORIGIN}/docs/guide.html`)
    await page.locator('#local-search button').first().click()
    await page.locator('#localsearch-input').fill(query)
    const first = await findFirst(page, target)
    if (!first.some((link) => link.startsWith(target)))
      report(`search "${query}": ${target} is not in ${first.join(', ') || 'any result'}`)
  }
}

/** Returns the first three results, once the target is one of them or the time is over: a busy host loads the index slowly. */
async function findFirst(page, target) {
  const results = page.locator('.VPLocalSearchBox .result')
  const end = Date.now() + SEARCH_MS
  for (;;) {
    const found = await results.evaluateAll((all) => all.map((link) => link.getAttribute('href')))
    const first = found.slice(0, 3).map((link) => link.replace('.html', ''))
    if (first.some((link) => link.startsWith(target)) || Date.now() > end) return first
    await page.waitForTimeout(200)
  }
}
