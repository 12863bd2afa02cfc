// Binds the queries in QUERIES (a JSON object) with the Kusto language service, against the part of the workspace's schema that they
// use. Prints an object with the columns of each result, by name with their types, and what is wrong with the query.
const SCHEMA = `let AppTraces = datatable(TimeGenerated: datetime, Message: string, SeverityLevel: int, Properties: dynamic,
  OperationName: string, OperationId: string, AppRoleName: string, AppRoleInstance: string, ItemCount: int, _ResourceId: string)[];
`;

function analyse(query) {
  const text = SCHEMA + query;
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(text);
  const list = items => Array.from({ length: items.Count }, (_, index) => items.getItem(index));
  const found = list(code.GetDiagnostics());
  const problems = found.map(each => `${each.Message} ${JSON.stringify(text.substr(each.Start, each.Length))}`);
  const columns = list(code.ResultType?.Columns ?? { Count: 0 }).map(column => [column.Name, column.Type.Name]);
  return { columns: Object.fromEntries(columns), problems };
}

// The files of the package are one line each, which Node would print together with an error.
try {
  require('@kusto/language-service-next/bridge.min.js');
  require('@kusto/language-service-next/Kusto.Language.Bridge.min.js');
  const queries = Object.entries(JSON.parse(process.env.QUERIES));
  console.log(JSON.stringify(Object.fromEntries(queries.map(([name, query]) => [name, analyse(query)]))));
} catch (error) {
  console.error(String(error.message));
  process.exitCode = 1;
}
