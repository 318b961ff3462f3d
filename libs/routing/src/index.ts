export { decide, type Route, type RouteRequest } from './decide.ts'
export { type Complexity, scoreComplexity } from './complexity/score-complexity.ts'
