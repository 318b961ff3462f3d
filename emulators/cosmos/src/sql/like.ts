const special = /[\\^$.*+?()[\]{}|]/g
const quoted = (char: string): string => char.replace(special, '\\$&')

const maxCached = 200
const cache = (): ((pattern: string, escape: string | undefined) => RegExp) => {
  const known = new Map<string, RegExp>()
  return (pattern, escape) => {
    const key = `${escape ?? ''}\n${pattern}`
    const compiled = known.get(key) ?? compile(pattern, escape)
    if (known.size >= maxCached) known.clear()
    known.set(key, compiled)
    return compiled
  }
}

const compile = (pattern: string, escape: string | undefined): RegExp => {
  let source = ''
  for (let i = 0; i < pattern.length; i += 1) {
    const char = pattern.charAt(i)
    if (escape !== undefined && char === escape) {
      i += 1
      source += quoted(pattern.charAt(i))
    } else if (char === '%') {
      // Runs of % collapse: each would add a level of backtracking.
      if (!source.endsWith('[^]*')) source += '[^]*'
    } else if (char === '_') source += '[^]'
    else {
      const set = char === '[' ? /^\[(\^?)([^\]]+)\]/.exec(pattern.slice(i)) : null
      if (set === null) source += quoted(char)
      else {
        source += `[${set[1] ?? ''}${(set[2] ?? '').replace(/[\\^]/g, '\\$&')}]`
        i += set[0].length - 1
      }
    }
  }
  try {
    return new RegExp(`^${source}$`, 'u')
  } catch {
    // An upside-down range such as [z-a] matches nothing.
    return /[^\s\S]/
  }
}

/** The regular expression of a LIKE pattern: `%`, `_`, `[abc]`, `[^a-c]`, and an optional escape character. */
export const likePattern = cache()
