// Sends one batch and prints what the client made of each answer, as JSON.
const { DynamicsWebApi } = require("dynamics-web-api");

const api = new DynamicsWebApi({
  serverUrl: process.env.DATAVERSE_URL,
  dataApi: { version: "9.2" },
  onTokenRefresh: async () => "any",
});

const upsert = (employee, data, options) =>
  api.upsert({
    collection: "contacts",
    key: `employeeid='${employee}'`,
    data,
    returnRepresentation: true,
    select: ["firstname"],
    ...options,
  });

const shown = (answer) =>
  answer.status
    ? { status: answer.status, code: answer.error.code }
    : { id: answer.contactid, firstname: answer.firstname };

async function main() {
  api.startBatch();
  upsert("E1", { firstname: "Ada" });
  upsert("E2", { firstname: "Bea" });
  upsert("E3", { nosuch: 1 });
  upsert("E4", { firstname: "Dot" });
  upsert("E1", { firstname: "Eve" }, { ifnonematch: "*" });
  upsert("E6", { firstname: "Fay" });
  api.retrieve({ collection: "contacts", key: "employeeid='E2'", select: ["firstname"] });
  const answers = await api.executeBatch({ inChangeSet: false, headers: { Prefer: "odata.continue-on-error" } });
  console.log(JSON.stringify(answers.map(shown)));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
