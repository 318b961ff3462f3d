import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../', import.meta.url))
const pages = ['*.md', 'docs/**/*.md'].flatMap((pattern) => globSync(pattern, { cwd: root })).sort()

interface Files {
  /** The text of a file, the empty string for a folder, undefined when there is nothing; paths are relative to the root. */
  read: (path: string) => string | undefined
}

/** What is wrong with a page's relative links: a missing file, a missing heading or line, a name the file does not hold. */
function brokenLinks(page: string, { read }: Files): string[] {
  return linksOf(read(page) ?? '').flatMap(({ text, target }) => {
    if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return []
    const [path = '', anchor] = target.split('#', 2)
    const file = path === '' ? page : join(dirname(page), decodeURI(path))
    const content = file.startsWith('..') ? undefined : read(file)
    if (content === undefined) return [`${target}: there is no ${file}`]
    if (anchor !== undefined && !hasAnchor(file, content, anchor)) return [`${target}: ${file} has no #${anchor}`]
    // A link whose text is one name in code font claims that the file holds it.
    const name = /^`([A-Za-z_$][\w$]*)(?:\(\))?`$/.exec(text)?.[1]
    if (name === undefined || !file.endsWith('.ts')) return []
    return new RegExp(`(?<![\\w$])${name.replaceAll('$', '\\$')}(?![\\w$])`).test(content)
      ? []
      : [`${target}: ${file} does not hold ${name}`]
  })
}

function hasAnchor(file: string, content: string, anchor: string): boolean {
  if (file.endsWith('.md')) return slugsOf(content).has(anchor)
  const lines = /^L(\d+)(?:-L(\d+))?$/.exec(anchor)
  return lines !== null && Number(lines[2] ?? lines[1]) <= content.split('\n').length
}

/** Inline links, images and reference definitions outside of code. */
function linksOf(markdown: string): { text: string; target: string }[] {
  const prose = withoutCodeBlocks(markdown)
  const inline = [...prose.matchAll(/\[((?:`[^`]*`|\\.|[^\]\\`])*)\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)]
  const definitions = [...prose.matchAll(/^ {0,3}(\[)[^\]]+\]:\s*<?(\S+?)>?\s*$/gm)]
  return [...inline, ...definitions].map(([, text = '', target = '']) => ({ text, target }))
}

/** GitHub's anchors: lower case, punctuation dropped, spaces to dashes, a number for a heading that comes again. */
function slugsOf(markdown: string): Set<string> {
  const slugs = new Set<string>()
  for (const [, heading = ''] of withoutCodeBlocks(markdown).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const slug = plain.replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-')
    let unique = slug
    for (let again = 1; slugs.has(unique); again++) unique = `${slug}-${again}`
    slugs.add(unique)
  }
  return slugs
}

const withoutCodeBlocks = (markdown: string) => markdown.replace(/^ *(```+|~~~+)[^\n]*\n[\s\S]*?^ *\1 *$/gm, '')

const onDisk: Files = {
  read: (path) => {
    const file = join(root, path)
    if (!existsSync(file)) return undefined
    return statSync(file).isDirectory() ? '' : readFileSync(file, 'utf8')
  },
}

describe('links of the documentation', () => {
  it('has pages to look at', () => {
    expect(pages).toEqual(expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']))
  })

  it.each(pages)('%s points at things that exist', (page) => {
    expect(brokenLinks(page, onDisk)).toEqual([])
  })
})

describe('brokenLinks', () => {
  const seeded: Record<string, string> = {
    'page.md': '',
    'docs/other.md': '# One: `two`\n\ntext\n\n## Again\n\n## Again\n',
    'src/code.ts': 'export const claimRow = 1\nconst last = 2\n',
    src: '',
  }
  const broken = (markdown: string) =>
    brokenLinks('page.md', { read: (path) => (path === 'page.md' ? markdown : seeded[relative('.', path)]) })

  it('accepts files, folders, headings, lines, names and addresses', () => {
    const links = ['docs/other.md', 'src', 'docs/other.md#one-two', 'docs/other.md#again-1', 'src/code.ts#L2', '#here']
    expect(broken(`# Here\n${links.map((target) => `[x](${target})`).join(' ')}`)).toEqual([])
    expect(broken('[`claimRow()`](src/code.ts) [x](https://example.com/none#a) ![p](src/code.ts "title")')).toEqual([])
  })

  it.each([
    ['a missing file', '[x](docs/none.md)', 'there is no docs/none.md'],
    ['a missing picture', '![x](none.png)', 'there is no none.png'],
    ['a missing reference', 'see [x][y]\n\n[y]: none.md', 'there is no none.md'],
    ['a path out of the repository', '[x](../docs/other.md)', 'there is no ../docs/other.md'],
    ['a missing heading', '[x](docs/other.md#three)', 'docs/other.md has no #three'],
    ['a missing heading of the page itself', '# Here\n[x](#there)', 'page.md has no #there'],
    ['a line past the end', '[x](src/code.ts#L9)', 'src/code.ts has no #L9'],
    ['a name that the file does not hold', '[`claim`](src/code.ts)', 'src/code.ts does not hold claim'],
    ['a link after another one', '[x](src) and [`y` z](none.ts)', 'there is no none.ts'],
  ])('reports %s', (_, markdown, complaint) => {
    expect(broken(markdown)).toEqual([expect.stringContaining(complaint)])
  })

  it('leaves code blocks alone', () => {
    expect(broken('```md\n[x](none.md)\n```\n\n[x](src)')).toEqual([])
  })
})
