package org.apache.livy.repl;

import io.netty.channel.ChannelHandlerContext;
import java.util.Collection;
import java.util.Map;
import java.util.NavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.livy.rsc.RSCConf;
import org.apache.livy.rsc.ReplJobResults;
import org.apache.livy.rsc.driver.RSCDriver;
import org.apache.livy.rsc.driver.SparkEntries;
import org.apache.livy.rsc.driver.Statement;
import org.apache.livy.rsc.driver.StatementState;
import org.apache.livy.rsc.rpc.Rpc;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkJobInfo;
import org.apache.spark.SparkStageInfo;
import org.apache.spark.api.java.JavaSparkStatusTracker;

/**
 * The driver of an interactive session. Livy's server asks for a class of this name; Livy's own is not published, so
 * this one answers the server's requests, for PySpark alone.
 */
public class ReplDriver extends RSCDriver {
  private final NavigableMap<Integer, Statement> statements = new ConcurrentSkipListMap<>();
  private final AtomicInteger next = new AtomicInteger();
  private final ExecutorService statementThread = Executors.newSingleThreadExecutor();
  private final ExecutorService cancelThread = Executors.newSingleThreadExecutor();
  private volatile String state = "not_started";
  private volatile SparkEntries entries;
  private volatile PythonShell shell;

  public ReplDriver(SparkConf conf, RSCConf livyConf) throws Exception {
    super(conf, livyConf);
  }

  @Override
  protected SparkEntries initializeSparkEntries() throws Exception {
    change("starting");
    try {
      SparkEntries started = new SparkEntries(conf);
      started.sc();
      started.sparkSession();
      entries = started;
    } catch (Exception | java.lang.Error error) {
      change("error");
      throw error;
    }
    change("idle");
    return entries;
  }

  @Override
  protected void onClientAuthenticated(Rpc client) {
    client.call(new ReplState(state));
  }

  @Override
  protected void shutdownContext() {
    statementThread.shutdownNow();
    cancelThread.shutdownNow();
    if (shell != null) {
      shell.close();
    }
    super.shutdownContext();
  }

  public int handle(ChannelHandlerContext context, ReplJobRequest request) {
    int id = next.getAndIncrement();
    Statement statement = new Statement(id, request.code, StatementState.Waiting, null);
    statements.put(id, statement);
    while (statements.size() > livyConf.getInt(RSCConf.Entry.RETAINED_STATEMENTS)) {
      statements.pollFirstEntry();
    }
    statementThread.submit(() -> run(statement));
    return id;
  }

  public void handle(ChannelHandlerContext context, CancelReplJobRequest request) {
    Statement statement = statements.get(request.id);
    if (statement == null || statement.state.get().isOneOf(
        StatementState.Available, StatementState.Cancelled, StatementState.Cancelling)) {
      return;
    }
    statement.compareAndTransit(StatementState.Waiting, StatementState.Cancelled);
    statement.compareAndTransit(StatementState.Running, StatementState.Cancelling);
    cancelThread.submit(() -> cancel(statement));
  }

  public ReplJobResults handle(ChannelHandlerContext context, GetReplJobResults request) {
    Map<Integer, Statement> asked = request.allResults
        ? statements
        : statements.subMap(request.from, request.from + request.size);
    Collection<Statement> found = asked.values();
    for (Statement statement : found) {
      statement.updateProgress(measureProgress(statement));
    }
    return new ReplJobResults(found.toArray(new Statement[0]));
  }

  public String[] handle(ChannelHandlerContext context, ReplCompleteRequest request) {
    return new String[0];
  }

  private void run(Statement statement) {
    // A statement that was cancelled while it waited stays as it is.
    if (!statement.compareAndTransit(StatementState.Waiting, StatementState.Running)) {
      return;
    }
    statement.started = System.currentTimeMillis();
    change("busy");
    PythonShell.Answer answer = execute(statement);
    if (answer.died) {
      change("error");
    } else if (statement.id == next.get() - 1) {
      change("idle");
    }
    statement.output = answer.json;
    statement.compareAndTransit(StatementState.Running, StatementState.Available);
    statement.compareAndTransit(StatementState.Cancelling, StatementState.Cancelled);
    statement.completed = System.currentTimeMillis();
    statement.updateProgress(1.0);
  }

  private PythonShell.Answer execute(Statement statement) {
    try {
      if (shell == null) {
        shell = new PythonShell(conf, entries);
      }
    } catch (Exception error) {
      error.printStackTrace();
      return PythonShell.refuse(statement.id, "InterpreterError", "Fail to start interpreter");
    }
    // As Livy does: in the user's own namespace, so in the thread of the JVM that the next lines use.
    String group = String.format("sc.setJobGroup(\"%d\", \"Job group for statement %d\")", statement.id, statement.id);
    shell.execute(statement.id, group);
    return shell.execute(statement.id, statement.code);
  }

  private void cancel(Statement statement) {
    long end = System.currentTimeMillis() + livyConf.getTimeAsMs(RSCConf.Entry.JOB_CANCEL_TIMEOUT);
    try {
      while (statement.state.get() == StatementState.Cancelling) {
        if (System.currentTimeMillis() > end) {
          statement.compareAndTransit(StatementState.Cancelling, StatementState.Cancelled);
          return;
        }
        entries.sc().cancelJobGroup(statement.id.toString());
        Thread.sleep(livyConf.getTimeAsMs(RSCConf.Entry.JOB_CANCEL_TRIGGER_INTERVAL));
      }
    } catch (InterruptedException closing) {
      Thread.currentThread().interrupt();
    }
  }

  private double measureProgress(Statement statement) {
    if (statement.state.get().isOneOf(StatementState.Available, StatementState.Cancelled)) {
      return 1.0;
    }
    JavaSparkStatusTracker tracker = entries.sc().statusTracker();
    int tasks = 0;
    int done = 0;
    for (int job : tracker.getJobIdsForGroup(statement.id.toString())) {
      SparkJobInfo info = tracker.getJobInfo(job);
      for (int stage : info == null ? new int[0] : info.stageIds()) {
        SparkStageInfo known = tracker.getStageInfo(stage);
        tasks += known == null ? 0 : known.numTasks();
        done += known == null ? 0 : known.numCompletedTasks();
      }
    }
    return tasks == 0 ? 0.0 : (double) done / tasks;
  }

  private void change(String to) {
    state = to;
    broadcast(new ReplState(to));
  }
}
